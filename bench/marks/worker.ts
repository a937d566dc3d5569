/**
 * One checkout's store in one runtime, in a process of its own. It measures a row
 * when it is asked to, and is idle otherwise.
 *
 * Arguments: the checkout's directory, a schema, and `full` or `smoke`; the URL
 * is in the environment.
 * Each line of standard input is a row's id, the seconds to measure, and perhaps
 * a file for a profile of that time. Each line of standard output is the figures,
 * or the error. Both are JSON.
 */
import { writeFile } from "node:fs/promises";
import { resolve } from "node:path";
import process from "node:process";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";
import pg from "pg";
import { Catalog } from "../../src/postgres/catalog.ts";
import { clientOptions } from "../client.ts";
import { serverCpu } from "../server_cpu.ts";
import { type Measure, otherSchema, type Place, urlVariable } from "./place.ts";
import { profiled } from "./profile.ts";
import { isSizeName, sizes } from "./sizes.ts";
import { workerRows } from "./worker_rows.ts";

const [checkout = ".", schema = "", size = "full"] = process.argv.slice(2);
const plainUrl = process.env[urlVariable] ?? "";
if (!isSizeName(size)) throw new Error("Expected the size full or smoke");
const { partitions } = sizes[size];

const module = pathToFileURL(resolve(checkout, "mod.ts")).href;
const { openStreamStorage }: typeof import("../../mod.ts") = await import(
  module
);

const options = {
  url: plainUrl,
  schema,
  partitions,
  startupDelayMs: 0,
  operationTimeoutMs: 120_000,
};
let storage = await openStreamStorage(options);
const direct = new pg.Client(clientOptions(plainUrl));
await direct.connect();

const place: Place = {
  get storage() {
    return storage;
  },
  async reopen() {
    await storage.close();
    const [since, used] = [performance.now(), process.cpuUsage()];
    storage = await openStreamStorage(options);
    const { user, system } = process.cpuUsage(used);
    return { ms: performance.now() - since, cpuMs: (user + system) / 1000 };
  },
  async openAnother() {
    const applicationName = otherSchema(schema);
    const url = new URL(plainUrl);
    url.searchParams.set("application_name", applicationName);
    const another = { ...options, url: url.href, schema: applicationName };
    return { storage: await openStreamStorage(another), applicationName };
  },
  url: plainUrl,
  direct,
  serverCpu: await serverCpu(direct),
  catalog: new Catalog(schema, partitions),
  sizes: sizes[size],
};

const prepared = new Map<string, Promise<Measure>>();

/** A question to this process. */
interface Question {
  row: string;
  seconds: number;
  profilePath?: string;
}

async function measure({ row, seconds, profilePath }: Question) {
  const prepare = workerRows[row];
  if (prepare === undefined) throw new Error(`Unknown row ${row}`);
  let ready = prepared.get(row);
  if (ready === undefined) prepared.set(row, ready = prepare(place));
  const measureRow = await ready;
  if (profilePath === undefined) return await measureRow(seconds);
  const { result, profile } = await profiled(() => measureRow(seconds));
  await writeFile(profilePath, JSON.stringify(profile));
  return result;
}

console.log("{}");
for await (const line of createInterface({ input: process.stdin })) {
  const answer = await measure(JSON.parse(line))
    .catch((error) => ({ error: String(error) }));
  console.log(JSON.stringify(answer));
}
await storage.close();
await direct.end();
process.exit();
