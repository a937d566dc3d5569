/** psql, to ask libpq what it makes of an address. */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Debian's versions are directories; `psql` on its path is a script. */
const packages = "/usr/lib/postgresql";

function find(): string {
  const versions = existsSync(packages) ? readdirSync(packages) : [];
  return versions.sort((a, b) => Number(b) - Number(a))
    .map((version) => join(packages, version, "bin", "psql"))
    .find((path) => existsSync(path)) ?? "psql";
}

const program = find();

/** libpq's major version; undefined where there is none. */
export const psqlVersion = ((): number | undefined => {
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  const [, major] = /\) (\d+)/.exec(stdout ?? "") ?? [];
  return major === undefined ? undefined : Number(major);
})();

/** Why it can't be asked; undefined if it can. */
export const whyNoPsql: string | undefined = psqlVersion === undefined
  ? "psql is missing: apt-get install postgresql-client"
  : undefined;

/** What it says: the first row, with `|` between columns, or its error. */
export function askPsql(
  url: string,
  sql: string,
  home: string,
): Promise<{ row: string } | { error: string }> {
  const args = ["-X", "-A", "-t", "-w", "-d", url, "-c", sql];
  // Nothing of the user's: neither variables nor files of libpq's.
  const env = { PATH: process.env.PATH, LC_ALL: "C", HOME: home };
  return new Promise((resolve) => {
    execFile(
      program,
      args,
      { env, cwd: home, timeout: 30_000 },
      (error, stdout, stderr) =>
        resolve(error ? { error: stderr } : { row: stdout.trim() }),
    );
  });
}
