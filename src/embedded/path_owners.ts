import { lstat, readlink } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";

/** Where a path leads, after following its links. */
export interface Place {
  /** The part that exists, without links. */
  real: string;
  /** The names below it that do not exist. */
  missing: string[];
  /** What lets others than root redirect the path; undefined if nothing. */
  redirector: string | undefined;
}

const linkLimit = 40;
const othersMayWrite = 0o002;
const groupMayWrite = 0o020;
const sticky = 0o1000;

/**
 * Follows an absolute path as the system would, and checks who could redirect
 * it. Without a redirector, `real` means the same directory for as long as root
 * leaves it alone. With one, root must do nothing there: a link could be
 * planted between a check and the action that relies on it.
 */
export async function follow(path: string): Promise<Place> {
  let real = "/";
  let rest = namesOf(path);
  let redirector: string | undefined;
  for (let links = 0; rest.length > 0;) {
    const [name = "", ...after] = rest;
    redirector ??= await writerOf(real);
    const next = join(real, name); // resolves "." and "..", too
    const entry = await lstat(next).catch(undefinedIfMissing);
    if (entry === undefined) return { real, missing: rest, redirector };
    if (entry.uid !== 0) redirector ??= `user ${entry.uid} owns ${next}`;
    rest = after;
    if (!entry.isSymbolicLink()) {
      real = next;
      continue;
    }
    if (++links > linkLimit) throw new Error(`too many links in ${path}`);
    const target = await readlink(next);
    if (isAbsolute(target)) real = "/";
    rest = [...namesOf(target), ...after];
  }
  return { real, missing: [], redirector };
}

/** The directories to create so that `path` exists, from the top down. */
export async function missingDirectories(path: string): Promise<string[]> {
  const missing: string[] = [];
  for (let dir = path;; dir = dirname(dir)) {
    if (await lstat(dir).catch(undefinedIfMissing) !== undefined) {
      return missing;
    }
    missing.unshift(dir);
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

/** In a directory with the sticky bit, nobody can move the files of others. */
async function writerOf(dir: string): Promise<string | undefined> {
  const { mode, gid } = await lstat(dir);
  if (mode & sticky) return undefined;
  if (mode & othersMayWrite) return `everybody may write to ${dir}`;
  return mode & groupMayWrite && gid !== 0
    ? `group ${gid} may write to ${dir}`
    : undefined;
}

function undefinedIfMissing(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT") throw error;
}
