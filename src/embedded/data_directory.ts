import {
  access,
  chmod,
  chown,
  constants,
  mkdir,
  readdir,
  readFile,
  rmdir,
  stat,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { badConfig, textOf } from "./failure.ts";
import { holdsFor, type ServerUser } from "./server_user.ts";

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

/** Makes `path` if missing and makes sure that a server can live there. */
export async function openDataDirectory(
  path: string,
  serverUser: ServerUser,
  majorVersion: string,
): Promise<DataDirectory> {
  const undo: (() => Promise<unknown>)[] = [];
  const restore = async () => {
    for (const step of undo.splice(0).reverse()) await step().catch(() => {});
  };
  try {
    const firstMade = await mkdir(path, { recursive: true });
    undo.push(() => removeEmpty(path, firstMade));
    const fresh = await holdsNoCluster(path, majorVersion);
    const owner = await stat(path);
    if (fresh) undo.push(() => chmod(path, owner.mode)); // initdb closes it
    if (serverUser === undefined) {
      await checkOwnUse(path, owner.uid);
      return { path, fresh, user: undefined, restore };
    }
    if (owner.uid !== 0) serverUser = { uid: owner.uid, gid: owner.gid };
    else await giveAway(path, fresh, serverUser, undo);
    if (!await holdsFor(serverUser, 'cd "$1" && [ -w . ]', path)) {
      throw unusable(path, `user ${serverUser.uid}, who runs it, cannot write`);
    }
    return { path, fresh, user: serverUser, restore };
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

/** Removes the directories that were made, from `path` up to `firstMade`. */
async function removeEmpty(path: string, firstMade?: string): Promise<void> {
  if (firstMade === undefined) return;
  for (let dir = path;; dir = dirname(dir)) {
    await rmdir(dir);
    if (dir === firstMade) return;
  }
}

async function holdsNoCluster(path: string, major: string): Promise<boolean> {
  const entries = await readdir(path);
  if (entries.length === 0) return true;
  if (!entries.includes("PG_VERSION")) {
    throw unusable(path, "it is neither empty nor a PostgreSQL cluster");
  }
  const found = (await readFile(join(path, "PG_VERSION"), "utf8")).trim();
  if (found !== major) {
    throw unusable(
      path,
      `it was made by PostgreSQL ${found}, and this is PostgreSQL ${major}`,
    );
  }
  return false;
}

async function checkOwnUse(path: string, ownerUid: number): Promise<void> {
  await access(path, constants.W_OK | constants.X_OK);
  if (ownerUid !== process.geteuid?.()) {
    throw unusable(path, `it belongs to user ${ownerUid}`);
  }
}

/** An empty directory of root's becomes the server's; a full one does not. */
async function giveAway(
  path: string,
  fresh: boolean,
  user: NonNullable<ServerUser>,
  undo: (() => Promise<unknown>)[],
): Promise<void> {
  if (!fresh) {
    throw unusable(path, "it belongs to root, who cannot run PostgreSQL");
  }
  const { gid } = await stat(path);
  undo.push(() => chown(path, 0, gid));
  await chown(path, user.uid, user.gid);
}
