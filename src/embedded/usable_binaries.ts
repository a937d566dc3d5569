import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile, symlink } from "node:fs/promises";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { basename, join } from "node:path";
import process from "node:process";
import { runAs, type ServerUser } from "./server_user.ts";

/** Binaries that the server's user can run. */
export interface UsableBinaries {
  /** The directory with `bin`, `lib` and `share`. */
  native: string;
  /**
   * Links between libraries that the package's install script may not have
   * made: pairs of a file and the name of the link to it.
   */
  links: string[];
  /** Removes the copy, if one was made. */
  release(): Promise<void>;
}

/**
 * Uses the package in place if the user can read it there, and otherwise a copy
 * below `parent`. The package itself stays untouched.
 */
export async function usableBinaries(
  native: string,
  user: ServerUser,
  parent: string,
): Promise<UsableBinaries> {
  const list = await readLinks(native);
  if (await isUsableInPlace(native, list, user)) {
    const links = list.filter(isNeededToRun).flatMap(({ source, target }) => [
      join(native, "lib", basename(source)),
      basename(target),
    ]);
    return { native, links, release: () => Promise.resolve() };
  }
  return await copyOf(native, list, parent);
}

interface LibraryLink {
  source: string;
  target: string;
}

async function readLinks(native: string): Promise<LibraryLink[]> {
  const list = join(native, "pg-symlinks.json");
  return existsSync(list) ? JSON.parse(await readFile(list, "utf8")) : [];
}

/** `libpq.so` is for linking only; programs load `libpq.so.5`. */
function isNeededToRun({ target }: LibraryLink): boolean {
  return !target.endsWith(".so");
}

/**
 * The server's user may be unable to read root's packages. And macOS drops the
 * library path whenever a system shell starts a program, so there the links
 * must lie beside the libraries.
 */
async function isUsableInPlace(
  native: string,
  links: LibraryLink[],
  user: ServerUser,
): Promise<boolean> {
  if (
    process.platform === "darwin" &&
    !links.every(({ target }) =>
      existsSync(join(native, "lib", basename(target)))
    )
  ) return false;
  if (user === undefined) return true;
  const look = await runAs(
    user,
    'cd "$1" && [ -x bin/postgres ] && [ -x bin/initdb ] && ' +
      "[ -r share/postgresql/postgres.bki ] && [ -r lib/postgresql/plpgsql.so ]",
    native,
  );
  return look.ok;
}

/**
 * Makes the copy and removes it at the end of its input, so at the latest when
 * this process ends. The copy stays ours; the server's user can only read it.
 * So nobody else can put a link into it, before or after.
 */
const copyScript = `
from=$1 to=$2
umask 077
trap '' HUP INT TERM
exec 3<&0 </dev/null
mkdir "$to" || exit
if cp -R "$from/." "$to" && chmod -R a+rX "$to"; then echo made; fi
exec >&-
read -r _ <&3
rm -rf "$to"
`;

async function copyOf(
  native: string,
  links: LibraryLink[],
  parent: string,
): Promise<UsableBinaries> {
  const copy = join(parent, `stream-storage-binaries-${randomUUID()}`);
  const keeper = spawn("/bin/sh", ["-c", copyScript, "sh", native, copy], {
    cwd: "/",
    env: { PATH: process.env.PATH ?? "/usr/bin:/bin" },
    detached: true, // Ctrl-C is for the host, whose end also ends this
    stdio: ["pipe", "pipe", "pipe"],
  });
  const ended = once(keeper, "exit");
  const release = async () => {
    keeper.ref();
    keeper.stdin.end();
    await ended;
  };
  keeper.stdin.on("error", () => {}); // a failed write; `ended` reports it
  try {
    await isMade(keeper);
    await makeLinks(links, join(copy, "lib"));
  } catch (error) {
    await release().catch(() => {});
    throw error;
  }
  keeper.unref();
  return { native: copy, links: [], release };
}

async function isMade(keeper: ChildProcess): Promise<void> {
  let said = "";
  let complaints = "";
  keeper.stdout?.on("data", (data) => said += data);
  keeper.stderr?.on("data", (data) => {
    if (complaints.length < 10_000) complaints += data;
  });
  await once(keeper.stdout!, "end");
  keeper.stdout?.destroy();
  keeper.stderr?.destroy();
  if (said.trim() === "made") return;
  throw new Error(`the binaries cannot be copied: ${complaints.trim()}`);
}

async function makeLinks(links: LibraryLink[], lib: string): Promise<void> {
  for (const { source, target } of links) {
    const link = join(lib, basename(target));
    if (!existsSync(link)) await symlink(basename(source), link);
  }
}
