/**
 * A program that starts an embedded server and prints its URL. Tests look at what
 * happens to the server when the program ends. Arguments: `stay`, or `leave` to
 * end without closing, and optionally a dataDir.
 */
import process from "node:process";
import { startEmbeddedPostgres } from "../../../src/embedded/mod.ts";

const [, , whatThen, dataDir] = process.argv;
const { url } = await startEmbeddedPostgres(dataDir ? { dataDir } : {});
process.stdout.write(`${url}\n`);
if (whatThen === "stay") setInterval(() => {}, 60_000);
