import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { textOf, tmpUnusable } from "./failure.ts";
import { follow } from "./path_owners.ts";
import { runAs, type ServerUser } from "./server_user.ts";
import { type UsableBinaries, usableBinaries } from "./usable_binaries.ts";

/** What a run of a server has on disk besides its data. */
export interface RunFiles {
  /** A directory that is not there yet: the server's user makes it. */
  runDir: string;
  /** What it runs. */
  binaries: UsableBinaries;
}

/** Chooses the place of a run, and makes the binaries usable for the user. */
export async function prepareRun(
  native: string,
  user: ServerUser,
): Promise<RunFiles> {
  const parent = await temporaryParent(user);
  const runDir = join(parent, `stream-storage-postgres-${randomUUID()}`);
  try {
    return { runDir, binaries: await usableBinaries(native, user, parent) };
  } catch (error) {
    throw tmpUnusable(textOf(error), error);
  }
}

/**
 * Where the server's user may make and remove directories, and nobody but root
 * can put others in their place.
 */
async function temporaryParent(user: ServerUser): Promise<string> {
  const wanted = resolve(tmpdir());
  if (user === undefined) return wanted;
  const faults: string[] = [];
  for (const parent of new Set([wanted, "/tmp", "/var/tmp"])) {
    const fault = await whyUnusable(parent, user);
    if (fault === undefined) return parent;
    faults.push(fault);
  }
  throw tmpUnusable(`${faults[0]}, and so it is with /tmp and /var/tmp`);
}

async function whyUnusable(
  parent: string,
  user: NonNullable<ServerUser>,
): Promise<string | undefined> {
  const { stranger, missing } = await follow(join(parent, randomUUID()));
  if (missing.length > 1) return "it does not exist";
  if (stranger !== undefined) return `others can change it (${stranger})`;
  const look = await runAs(user, 'cd "$1" && [ -w . ]', parent);
  if (look.ok) return undefined;
  return `user ${user.uid}, who runs the server, cannot write`;
}
