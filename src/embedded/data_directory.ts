import {
  chmod,
  lchown,
  lstat,
  mkdir,
  readdir,
  rmdir,
  stat,
} from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { badConfig, textOf } from "./failure.ts";
import { follow, missingDirectories, type Place } from "./path_owners.ts";
import { type Account, runAs, type ServerUser } from "./server_user.ts";

/** A directory of the caller's that is ready for the server. */
export interface DataDirectory {
  /** Absolute. */
  path: string;
  /** Whether a database cluster has to be made in it. */
  fresh: boolean;
  /** Who owns it and so must run the server. */
  user: ServerUser;
  /** Undoes what was done to the directory itself; its contents stay. */
  restore(): Promise<void>;
}

type Undo = (() => Promise<unknown>)[];

/**
 * Makes `path` if missing and makes sure that a server can live there. Root
 * only makes it and gives it away, and only where nobody else can change the
 * path. All the rest is done with the rights of the server's user.
 */
export async function openDataDirectory(
  path: string,
  accounts: Account[],
  majorVersion: string,
): Promise<DataDirectory> {
  const undo: Undo = [];
  const restore = async () => {
    for (const step of undo.splice(0).reverse()) await step().catch(() => {});
  };
  try {
    const user = await runnerOf(path, accounts);
    const place = user && await follow(path);
    if (user && place) path = await giveAway(path, place, user, undo);
    await makeMissing(path, user, place, undo);
    const { mode } = await stat(path);
    const fresh = await holdsNoCluster(path, user, majorVersion);
    // initdb closes it to others.
    if (fresh) undo.push(() => setMode(path, mode, user));
    return { path, fresh, user, restore };
  } catch (error) {
    await restore();
    throw isFileSystemError(error)
      ? unusable(path, textOf(error), error)
      : error;
  }
}

function isFileSystemError(error: unknown): boolean {
  return error instanceof Error && "syscall" in error;
}

function unusable(path: string, why: string, cause?: unknown): Error {
  return badConfig(
    "data_dir_unusable",
    `Cannot start the embedded PostgreSQL: dataDir must be a directory of the server's own, received ${path}: ${why}`,
    { dataDir: path },
    cause,
  );
}

/** A directory that is there decides who runs the server. */
async function runnerOf(
  path: string,
  accounts: Account[],
): Promise<ServerUser> {
  const owner = (await stat(path).catch(() => undefined))?.uid;
  const [account] = accounts;
  if (account === undefined) {
    if (owner === undefined || owner === process.geteuid?.()) return undefined;
    throw unusable(
      path,
      `expected one of user ${process.geteuid?.()}, found that it belongs to user ${owner}`,
    );
  }
  if (owner === undefined || owner === 0) return account;
  const found = accounts.find(({ uid }) => uid === owner);
  if (found !== undefined) return found;
  throw unusable(
    path,
    `expected one of user ${
      accounts.map(({ uid }) => uid).join(" or ")
    }, who may run it for root, found that it belongs to user ${owner}`,
  );
}

/**
 * Root's part. An empty directory of root's becomes the user's, a full one
 * does not, and a missing one is made. Its path from now on is returned.
 */
async function giveAway(
  path: string,
  { real, missing, stranger }: Place,
  user: Account,
  undo: Undo,
): Promise<string> {
  const isThere = missing.length === 0;
  const { uid, gid } = await lstat(real);
  if (isThere && uid !== 0) return path; // the user's already
  if (stranger !== undefined) {
    if (!isThere) return path; // the user may be able to make it
    throw unusable(
      path,
      `it belongs to root, who does not give away what others can replace (${stranger}); expected one of user ${user.uid}`,
    );
  }
  if (isThere && (await readdir(real)).length > 0) {
    throw unusable(path, "it belongs to root, who cannot run PostgreSQL");
  }
  let dir = real;
  for (const name of missing) {
    const made = join(dir, name);
    await mkdir(made);
    undo.push(() => rmdir(made));
    dir = made;
  }
  undo.push(() => lchown(dir, 0, gid));
  await lchown(dir, user.uid, user.gid);
  return dir;
}

/** The part of the server's user. */
async function makeMissing(
  path: string,
  user: ServerUser,
  place: Place | undefined,
  undo: Undo,
): Promise<void> {
  const missing = await missingDirectories(path);
  if (missing.length === 0) return;
  const { ok, complaints } = await runAs(user, 'mkdir -p "$1"', path);
  const remove = 'for dir; do rmdir "$dir" || exit; done';
  undo.push(() => runAs(user, remove, ...missing.reverse()));
  if (ok) return;
  throw unusable(
    path,
    place?.stranger === undefined
      ? complaints
      : `user ${user?.uid} cannot make it, and root makes nothing where others can change the path (${place.stranger})`,
  );
}

/** The version is the user's word: short, and never read through root. */
const inspection = `
cd "$1" && [ -w . ] || exit
if [ -z "$(ls -A)" ]; then echo empty
elif [ -f PG_VERSION ]; then head -c 20 PG_VERSION
fi
`;

async function holdsNoCluster(
  path: string,
  user: ServerUser,
  major: string,
): Promise<boolean> {
  const { ok, output, complaints } = await runAs(user, inspection, path);
  if (!ok) {
    const who = user === undefined ? "" : `user ${user.uid}, who runs it, `;
    throw unusable(path, `${who}cannot write: ${complaints}`);
  }
  const found = output.trim();
  if (found === "empty") return true;
  if (found === major) return false;
  throw unusable(
    path,
    /^\d+(\.\d+)?$/.test(found)
      ? `it was made by PostgreSQL ${found}, and this is PostgreSQL ${major}`
      : "it is neither empty nor a PostgreSQL cluster",
  );
}

function setMode(
  path: string,
  mode: number,
  user: ServerUser,
): Promise<unknown> {
  if (user === undefined) return chmod(path, mode);
  const octal = (mode & 0o7777).toString(8);
  return runAs(user, 'chmod "$1" "$2"', octal, path);
}
