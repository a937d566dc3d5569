import { execFile } from "node:child_process";
import { chown, mkdir, readFile } from "node:fs/promises";
import process from "node:process";
import { badConfig } from "./failure.ts";

/** Who runs the server; undefined stands for whoever runs this process. */
export type ServerUser = { uid: number; gid: number } | undefined;

/**
 * PostgreSQL refuses to run as root, so root needs somebody else: an existing
 * account made for it, or else the one that owns nothing. None is created.
 */
export async function chooseServerUser(): Promise<ServerUser> {
  if (process.geteuid?.() !== 0) return undefined;
  const accounts = (await readFile("/etc/passwd", "utf8")).split("\n")
    .map((line) => line.split(":"));
  for (const wanted of ["postgres", "_postgres", "nobody"]) {
    const account = accounts.find(([name]) => name === wanted);
    // Some systems write nobody as -2; ids are unsigned.
    const [uid, gid] = [Number(account?.[2]) >>> 0, Number(account?.[3]) >>> 0];
    if (uid > 0) return { uid, gid };
  }
  throw badConfig(
    "no_server_user",
    "Cannot start the embedded PostgreSQL as root: it needs an account postgres or nobody to run the server, found neither in /etc/passwd",
  );
}

/** Makes a directory that belongs to `user` and is closed to others. */
export async function makeDirectory(
  path: string,
  user: ServerUser,
): Promise<void> {
  await mkdir(path, { mode: 0o700 });
  if (user !== undefined) await chown(path, user.uid, user.gid);
}

/**
 * Whether a shell test with the path as `$1` holds for `user`. Asking as that
 * user is the only answer that counts every directory above and every ACL.
 */
export function holdsFor(
  user: NonNullable<ServerUser>,
  test: string,
  path: string,
): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(
      "/bin/sh",
      ["-c", test, "sh", path],
      { ...user, cwd: "/", timeout: 10_000, env: {} },
      (error) => resolve(error === null),
    );
  });
}
