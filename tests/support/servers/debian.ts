import { existsSync, readdirSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";

/** Where Debian installs servers: a directory for each version. */
const packages = "/usr/lib/postgresql";

/** The account that Debian's package makes for its servers. */
export interface Account {
  uid: number;
  gid: number;
}

/**
 * Finds the programs of the newest installed server; undefined if there is
 * none. The embedded binaries lack `pg_rewind`, which an old primary needs to
 * become a standby.
 */
export function serverPrograms(): string | undefined {
  if (!existsSync(packages)) return undefined;
  return readdirSync(packages).sort((a, b) => Number(b) - Number(a))
    .map((version) => join(packages, version, "bin"))
    .find((dir) => existsSync(join(dir, "pg_rewind")));
}

/** Looks up the account `postgres`. */
export async function serverAccount(): Promise<Account> {
  const accounts = await readFile("/etc/passwd", "utf8");
  const [, uid, gid] = /^postgres:[^:]*:(\d+):(\d+):/m.exec(accounts) ?? [];
  if (gid === undefined) throw new Error("Expected an account named postgres");
  return { uid: Number(uid), gid: Number(gid) };
}
