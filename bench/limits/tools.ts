/** Finds and runs the tools that PostgreSQL ships with: psql and pgbench. */

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import process from "node:process";
import { promisify } from "node:util";

const run = promisify(execFile);

/** The tools' paths; undefined for a tool that was not found. */
export interface Tools {
  psql: string | undefined;
  pgbench: string | undefined;
  /** The version that the tools report. */
  version: string | undefined;
}

/**
 * Looks for the tools in the given directory (or PGBIN), then on PATH, then in
 * the directory that pg_config names.
 */
export async function findTools(directory?: string): Promise<Tools> {
  const directories = [
    directory ?? process.env.PGBIN,
    ...(process.env.PATH ?? "").split(delimiter),
    await serverPrograms(),
  ].filter((path) => path !== undefined && path !== "");
  const find = (name: string) =>
    directories.map((path) => join(path!, name)).find((path) =>
      existsSync(path)
    );
  const psql = find("psql");
  const pgbench = find("pgbench");
  const tool = pgbench ?? psql;
  return {
    psql,
    pgbench,
    version: tool === undefined
      ? undefined
      : /\d+(\.\d+)*/.exec(await runTool(tool, ["--version"]))?.[0],
  };
}

/** Asks pg_config for its directory; undefined if there is no pg_config. */
async function serverPrograms(): Promise<string | undefined> {
  try {
    return (await runTool("pg_config", ["--bindir"])).trim();
  } catch {
    return undefined;
  }
}

/** Runs a tool until it ends, and returns what it printed. */
async function runTool(
  tool: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<string> {
  try {
    const { stdout } = await run(tool, args, {
      maxBuffer: 64 * 1024 * 1024,
      env: { ...process.env, ...env },
    });
    return stdout;
  } catch (error) {
    // The original message would repeat all arguments.
    const { stderr, code } = error as { stderr?: string; code?: unknown };
    throw new Error(`${basename(tool)} failed, ${code}: ${stderr ?? ""}`);
  }
}

/**
 * Runs a tool that connects to a server. The password goes into the
 * environment, because every user of the machine can read a process's
 * arguments.
 */
export function runClient(
  tool: string,
  args: string[],
  url: string,
): Promise<string> {
  const address = new URL(url);
  const password = decodeURIComponent(address.password) ||
    (address.searchParams.get("password") ?? "");
  address.password = "";
  address.searchParams.delete("password");
  return runTool(
    tool,
    [...args, address.href],
    password === "" ? {} : { PGPASSWORD: password },
  );
}
