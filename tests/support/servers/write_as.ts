import { execFile } from "node:child_process";
import type { ServerUser } from "../../../src/embedded/server_user.ts";

/**
 * Appends to a user's file with that user's rights. If the user puts a link in
 * its place, the link gives access to nothing that the user could not write
 * anyway.
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
