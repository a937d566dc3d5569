/** Checks that need no server: the runtime and its permissions. */

import type { ConnectionTarget } from "../../database/connection_target.ts";
import { isSocketDirectory } from "../../database/login/line.ts";
import { quoted } from "../../storage/foreign_text.ts";
import { fail, ok, orOk, type Result, unknown, warn } from "./diagnosis.ts";

/** The oldest tested versions, as the README lists them. */
const oldest: Readonly<Record<string, readonly [number, number]>> = {
  deno: [2, 8],
  bun: [1, 4],
  node: [24, 5],
};

/** The part of `process.versions` that matters here. */
export type RuntimeVersions = Readonly<Record<string, string | undefined>>;

/**
 * Checks that the runtime is a tested one. Deno and Bun also report a version
 * of Node.
 */
export function checkRuntime(versions: RuntimeVersions): Result {
  const name = ["deno", "bun", "node"].find((each) => versions[each]);
  if (name === undefined) {
    return unknown("The runtime does not name itself");
  }
  const version = versions[name]!;
  const [major = 0, minor = 0] = version.split(".").map(Number);
  const [leastMajor, leastMinor] = oldest[name]!;
  const isOld = major < leastMajor ||
    (major === leastMajor && minor < leastMinor);
  return isOld
    ? warn(
      `${name} ${version} is older than the tested versions`,
      `Use ${name} ${leastMajor}.${leastMinor} or later.`,
    )
    : ok(`${name} ${version}`);
}

/** A permission that Deno may not have given. */
export interface Permission {
  name: "net" | "read" | "sys";
  host?: string;
  path?: string;
  kind?: string;
}

/** Asks Deno, which answers `granted`, `prompt` or `denied`. */
export type AskPermission = (
  permission: Permission,
) => Promise<{ state: string }>;

/**
 * How to ask for permissions; undefined under runtimes that allow everything.
 */
export function permissionsOfRuntime(): AskPermission | undefined {
  const { Deno: deno } = globalThis as unknown as {
    Deno?: { permissions?: { query: AskPermission } };
  };
  const permissions = deno?.permissions;
  return permissions && ((wanted) => permissions.query(wanted));
}

/**
 * Checks that the runtime lets a store reach its servers, read its files and
 * learn its host's name.
 */
export async function checkPermissions(
  { hosts, ssl }: Pick<ConnectionTarget, "hosts" | "ssl">,
  ask: AskPermission | undefined,
): Promise<Result[]> {
  if (ask === undefined) return [ok("This runtime needs none")];
  const lacks = async (wanted: Permission) =>
    (await ask(wanted)).state !== "granted";
  const results: Result[] = [];
  for (const { host, port } of hosts) {
    if (isSocketDirectory(host)) continue;
    const address = `${host.includes(":") ? `[${host}]` : host}:${port}`;
    if (await lacks({ name: "net", host: address })) {
      results.push(fail(
        `Deno may not connect to ${quoted(address)}`,
        `Start it with --allow-net=${address}`,
      ));
    }
  }
  for (const path of [ssl.ca, ssl.cert, ssl.key]) {
    if (path === undefined || path.includes("-----BEGIN")) continue;
    if (await lacks({ name: "read", path })) {
      results.push(fail(
        `Deno may not read ${quoted(path, 200)}`,
        "Start it with --allow-read= and that path.",
      ));
    }
  }
  if (await lacks({ name: "sys", kind: "hostname" })) {
    results.push(warn(
      "Deno may not read this machine's name, which identifies an owner",
      "Start it with --allow-sys=hostname",
    ));
  }
  return orOk(results, "Deno allows what a store needs");
}
