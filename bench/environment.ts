/** Describes what a run was measured on, without naming the machine. */

import { createRequire } from "node:module";
import { cpus, release, totalmem, type } from "node:os";
import process from "node:process";
import type pg from "pg";

/** The server settings that decide what a write costs. */
const settingNames = [
  "fsync",
  "synchronous_commit",
  "full_page_writes",
  "wal_sync_method",
  "shared_buffers",
  "max_wal_size",
  "min_wal_size",
  "checkpoint_timeout",
  "max_connections",
];

/** The machine, the versions and the server's settings of a run. */
export interface Environment {
  date: string;
  cpu: string;
  cores: number;
  memoryGiB: number;
  system: string;
  runtime: string;
  server: string;
  pg: string;
  tools: string;
  settings: Record<string, string>;
}

/** Names the runtime of this process. */
export function runtimeName(): "deno" | "bun" {
  return process.versions.bun === undefined ? "deno" : "bun";
}

/** Describes this machine and the server. */
export async function describeEnvironment(
  server: pg.Client,
  tools: string | undefined,
): Promise<Environment> {
  const { rows: [version] } = await server.query("SHOW server_version");
  const { rows: settings } = await server.query(
    `SELECT name, current_setting(name) AS value FROM pg_settings
     WHERE name = ANY($1) ORDER BY array_position($1, name)`,
    [settingNames],
  );
  const runtime = runtimeName();
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${type()} ${release()}`,
    runtime: `${runtime} ${process.versions[runtime]}`,
    server: `PostgreSQL ${version.server_version}`,
    pg: createRequire(import.meta.url)("pg/package.json").version,
    tools: tools === undefined ? "none" : `libpq tools ${tools}`,
    settings: Object.fromEntries(
      settings.map(({ name, value }) => [name, value]),
    ),
  };
}

/** Whether commits waited for the disk. */
export function isDurable({ settings }: Environment): boolean {
  return settings["fsync"] === "on" && settings["synchronous_commit"] === "on";
}
