import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Debian's server packages; the versions are directories. */
const packages = "/usr/lib/postgresql";

/** The account that the package makes for its servers. */
export interface Account {
  uid: number;
  gid: number;
}

/**
 * The directory of the newest server's programs, undefined if there is none.
 * The embedded binaries lack `pg_rewind`, without which no old primary can come
 * back.
 */
export function serverPrograms(): string | undefined {
  if (!existsSync(packages)) return undefined;
  return readdirSync(packages).sort((a, b) => Number(b) - Number(a))
    .map((version) => join(packages, version, "bin"))
    .find((dir) => existsSync(join(dir, "pg_rewind")));
}

/** The account `postgres`. */
export async function serverAccount(): Promise<Account> {
  const accounts = await readFile("/etc/passwd", "utf8");
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+):/m.exec(accounts) ?? [];
  if (gid === undefined) throw new Error("Expected an account postgres");
  return { uid: Number(uid), gid: Number(gid) };
}
