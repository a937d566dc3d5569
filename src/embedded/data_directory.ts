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
  /** Whether a database cluster must be created in it. */
  fresh: boolean;
  /** The user that owns it and so must run the server. */
  user: ServerUser;
  /** Undoes the changes to the directory itself; its contents stay. */
  restore(): Promise<void>;
}

type Undo = (() => Promise<unknown>)[];

/**
 * Creates `path` if missing, and makes sure that a server can use it. Root only
 * creates it and gives it away, and only where nobody else can change the path.
 * All else is done with the rights of the server's user.
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
    // initdb makes the directory private.
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

/** The owner of an existing directory decides which user runs the server. */
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
      `it must belong to user ${process.geteuid?.()}, but belongs to user ${owner}`,
    );
  }
  if (owner === undefined || owner === 0) return account;
  const found = accounts.find(({ uid }) => uid === owner);
  if (found !== undefined) return found;
  throw unusable(
    path,
    `it must belong to user ${
      accounts.map(({ uid }) => uid).join(" or ")
    }, which may run the server for root, but belongs to user ${owner}`,
  );
}

/**
 * The part that root does. An empty directory of root's becomes the user's, a
 * full one does not, a missing one is created. Returns the path to use from now
 * on.
 */
async function giveAway(
  path: string,
  { real, missing, redirector }: Place,
  user: Account,
  undo: Undo,
): Promise<string> {
  const isThere = missing.length === 0;
  const { uid, gid } = await lstat(real);
  if (isThere && uid !== 0) return path; // it already belongs to the user
  if (redirector !== undefined) {
    if (!isThere) return path; // the user may be able to create it
    throw unusable(
      path,
      `root does not give away a directory that others can replace (${redirector}); it must belong to user ${user.uid}`,
    );
  }
  if (isThere && (await readdir(real)).length > 0) {
    throw unusable(path, "it belongs to root, which cannot run PostgreSQL");
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

/** The part that the server's user does. */
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
    place?.redirector === undefined
      ? complaints
      : `user ${user?.uid} cannot create it, and root creates nothing where others can change the path (${place.redirector})`,
  );
}

/** PG_VERSION is the user's: read little of it, and never as root. */
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
    const subject = user === undefined
      ? "this user"
      : `user ${user.uid}, which runs the server,`;
    throw unusable(path, `${subject} cannot write: ${complaints}`);
  }
  const found = output.trim();
  if (found === "empty") return true;
  if (found === major) return false;
  throw unusable(
    path,
    /^\d+(\.\d+)?$/.test(found)
      ? `it was made by PostgreSQL ${found}, but this is PostgreSQL ${major}`
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
