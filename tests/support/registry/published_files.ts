/** What is published, as JSR would hold it. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runCommand } from "./run_command.ts";
import { root } from "../root.ts";

/** What counts here of deno.json. */
export interface PackageConfiguration {
  name: string;
  version: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
}

/** The package's deno.json. */
export const configuration: PackageConfiguration = JSON.parse(
  readFileSync(join(root, "deno.json"), "utf8"),
);

/** A specifier in its quotes, and what stands before it; no comment is crossed. */
const specifiers =
  /(^(?:import|export)\b(?:(?!\/\*)[^;"])*?\bfrom\s+|^import\s+|\bimport\(\s*)"([^"]+)"/gm;

/**
 * The published files by their paths, with specifiers as `deno publish` leaves
 * them: the package's own import map is gone, and no user's map may be needed.
 */
export async function publishedFiles(): Promise<Map<string, string>> {
  const listing = await runCommand(
    "sh",
    ["-c", "deno publish --dry-run --allow-dirty --no-check 2>&1"],
    { cwd: root },
  );
  assert.doesNotMatch(listing, /^(warning|error)\b/im);
  const base = pathToFileURL(root).href;
  const paths = [...listing.matchAll(/^ +(file:\S+) \(/gm)]
    .map(([, url]) => decodeURI(url!.slice(base.length)));
  return new Map(paths.map((path) => {
    const content = readFileSync(join(root, path), "utf8");
    return [path, path.endsWith(".ts") ? rewritten(path, content) : content];
  }));
}

function rewritten(path: string, content: string): string {
  return content.replace(specifiers, (_, before: string, specifier: string) => {
    const target = /^(\.|node:|npm:)/.test(specifier)
      ? specifier
      : mapped(specifier);
    assert.ok(target, `${path} imports ${specifier}: nothing maps it`);
    return `${before}"${target}"`;
  });
}

function mapped(specifier: string): string | undefined {
  const [name, target] = Object.entries(configuration.imports)
    .find(([name]) => specifier === name || specifier.startsWith(`${name}/`)) ??
    [];
  return name && target + specifier.slice(name.length);
}

/** The package as npm users of JSR get it: a tarball of JavaScript and types. */
export async function packForNpm(file: string): Promise<void> {
  await runCommand("deno", [
    "pack",
    "--quiet",
    "--allow-dirty",
    `--output=${file}`,
  ], { cwd: root });
}
