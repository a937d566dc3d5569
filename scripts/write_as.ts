import { execFile } from "node:child_process";
import type { ServerUser } from "../src/embedded/server_user.ts";

/**
 * Appends to a file of the user's, with that user's rights: a link in its place
 * leads nowhere that the user could not go without us.
 */
export function writeAs(
  user: ServerUser,
  file: string,
  text: string,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      "/bin/sh",
      ["-c", 'umask 077 && cat >>"$1"', "sh", file],
      { ...user, cwd: "/" },
      (error) => error === null ? resolve() : reject(error),
    );
    child.stdin?.end(text);
  });
}
