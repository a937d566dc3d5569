import { lstat, readlink } from "node:fs/promises";
import { dirname, isAbsolute, join } from "node:path";

/** Where a path leads, link by link. */
export interface Place {
  /** The part that exists, without links. */
  real: string;
  /** The names below it that do not exist. */
  missing: string[];
  /** Who else than root can make it lead elsewhere; undefined if nobody can. */
  stranger: string | undefined;
}

const linkLimit = 40;
const othersMayWrite = 0o002;
const groupMayWrite = 0o020;
const sticky = 0o1000;

/**
 * Follows an absolute path as the system would, and looks who can change its
 * way. Without a stranger, `real` means the same directory for as long as root
 * leaves it alone. With one, root must do nothing there: between a look and a
 * deed, the stranger puts a link.
 */
export async function follow(path: string): Promise<Place> {
  let real = "/";
  let rest = namesOf(path);
  let stranger: string | undefined;
  for (let links = 0; rest.length > 0;) {
    const [name = "", ...after] = rest;
    stranger ??= await writerOf(real);
    const next = join(real, name); // takes "." and ".." as well
    const entry = await lstat(next).catch(undefinedIfMissing);
    if (entry === undefined) return { real, missing: rest, stranger };
    if (entry.uid !== 0) stranger ??= `user ${entry.uid} owns ${next}`;
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
  return { real, missing: [], stranger };
}

/** What has to be made for `path` to exist, from the top down. */
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

/** Where the sticky bit is set, nobody moves what is another's. */
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
