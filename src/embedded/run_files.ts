import { randomUUID } from "node:crypto";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { textOf, tmpUnusable } from "./failure.ts";
import { follow } from "./path_owners.ts";
import { runAs, type ServerUser } from "./server_user.ts";
import { type UsableBinaries, usableBinaries } from "./usable_binaries.ts";

/** The files of one run of a server, besides its data. */
export interface RunFiles {
  /** A directory that does not exist yet: the server's user creates it. */
  runDir: string;
  /** The binaries that it runs. */
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
 * A directory in which the server's user may create and remove directories, and
 * where only root can replace them.
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
  throw tmpUnusable(`${faults[0]}, and /tmp and /var/tmp are no better`);
}

async function whyUnusable(
  parent: string,
  user: NonNullable<ServerUser>,
): Promise<string | undefined> {
  const { redirector, missing } = await follow(join(parent, randomUUID()));
  if (missing.length > 1) return "it does not exist";
  if (redirector !== undefined) return `others can change it (${redirector})`;
  const look = await runAs(user, 'cd "$1" && [ -w . ]', parent);
  if (look.ok) return undefined;
  return `user ${user.uid}, which runs the server, cannot write`;
}
