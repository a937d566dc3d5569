/**
 * Opens a store and prints how long that took since its process was started, and
 * the CPU time of all that, as JSON.
 *
 * Arguments: the checkout's directory, a schema, the number of partitions,
 * and when the process was started, in milliseconds of Unix time: only the
 * process that started it knows.
 */
import { resolve } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { urlVariable } from "./place.ts";

const [checkout = ".", schema = "", partitions, started] = process.argv
  .slice(2);
const url = process.env[urlVariable] ?? "";
const module = pathToFileURL(resolve(checkout, "mod.ts")).href;
const { openStreamStorage }: typeof import("../../mod.ts") = await import(
  module
);
const storage = await openStreamStorage({
  url,
  schema,
  partitions: Number(partitions),
});
const ms = Date.now() - Number(started);
const { user, system } = process.cpuUsage();
console.log(JSON.stringify({ ms, cpuMs: (user + system) / 1000 }));
await storage.close();
process.exit();
