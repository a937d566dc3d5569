import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { badConfig } from "./failure.ts";

/** An account that may run the server for root. */
export interface Account {
  uid: number;
  gid: number;
}

/** The user that runs the server; undefined means the user of this process. */
export type ServerUser = Account | undefined;

/**
 * PostgreSQL refuses to run as root, so root needs another user: an existing
 * account made for it, or else the one that owns nothing. No account is
 * created. The first is preferred; the others may own data of an earlier start.
 * Empty when this process does not run as root.
 */
export async function serverAccounts(): Promise<Account[]> {
  if (process.geteuid?.() !== 0) return [];
  const lines = (await readFile("/etc/passwd", "utf8")).split("\n")
    .map((line) => line.split(":"));
  const accounts = ["postgres", "_postgres", "nobody"].flatMap((wanted) => {
    const line = lines.find(([name]) => name === wanted);
    // Some systems write nobody's id as -2; ids are unsigned.
    const [uid, gid] = [Number(line?.[2]) >>> 0, Number(line?.[3]) >>> 0];
    return uid > 0 ? [{ uid, gid }] : [];
  });
  if (accounts.length > 0) return accounts;
  throw badConfig(
    "no_server_user",
    "Cannot start the embedded PostgreSQL as root: it needs an account postgres or nobody to run the server, but /etc/passwd has neither",
  );
}

/** The first of {@linkcode serverAccounts}. */
export async function chooseServerUser(): Promise<ServerUser> {
  return (await serverAccounts())[0];
}

/** The result of a shell script. */
export interface Answer {
  /** Whether its status was 0. */
  ok: boolean;
  /** Its standard output. */
  output: string;
  /** Its standard error. */
  complaints: string;
}

/**
 * Runs a short script with the rights of `user`; its parameters start at `$1`.
 * Files of that user are read and changed only in this way. If root did it
 * itself, a link that the user plants could lead root to any file.
 */
export function runAs(
  user: ServerUser,
  script: string,
  ...parameters: string[]
): Promise<Answer> {
  return new Promise((resolve) => {
    execFile(
      "/bin/sh",
      ["-c", script, "sh", ...parameters],
      {
        ...user,
        cwd: "/",
        timeout: 10_000,
        maxBuffer: 65_536,
        env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
      },
      (error, stdout, stderr) =>
        resolve({
          ok: error === null,
          output: String(stdout),
          complaints: String(stderr).trim(),
        }),
    );
  });
}
