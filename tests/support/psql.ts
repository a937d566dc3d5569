/** Runs psql, to see what libpq does with a connection URL. */
import { execFile, spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";

/** Debian has a directory for each version; its `psql` on the path is a script. */
const packages = "/usr/lib/postgresql";

function find(): string {
  const versions = existsSync(packages) ? readdirSync(packages) : [];
  return versions.sort((a, b) => Number(b) - Number(a))
    .map((version) => join(packages, version, "bin", "psql"))
    .find((path) => existsSync(path)) ?? "psql";
}

const program = find();

/** libpq's major version; undefined if psql is missing. */
export const psqlVersion = ((): number | undefined => {
  const { stdout } = spawnSync(program, ["--version"], { encoding: "utf8" });
  const [, major] = /\) (\d+)/.exec(stdout ?? "") ?? [];
  return major === undefined ? undefined : Number(major);
})();

/** Why psql can't be used; undefined if it can. */
export const whyNoPsql: string | undefined = psqlVersion === undefined
  ? "psql is missing: apt-get install postgresql-client"
  : undefined;

/** psql's first row, with `|` between columns, or its error. */
export function askPsql(
  url: string,
  sql: string,
  home: string,
): Promise<{ row: string } | { error: string }> {
  const args = ["-X", "-A", "-t", "-w", "-d", url, "-c", sql];
  // libpq must not find the user's own variables and files.
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
