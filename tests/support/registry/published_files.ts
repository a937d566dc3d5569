/** The published package in the forms of JSR and npm. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { runCommand } from "./run_command.ts";
import { root } from "../root.ts";

/** The fields of deno.json that tests use. */
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

/** A quoted specifier and the import before it, but never across a comment. */
const specifiers =
  /(^(?:import|export)\b(?:(?!\/\*)[^;"])*?\bfrom\s+|^import\s+|\bimport\(\s*)"([^"]+)"/gm;

/**
 * The published files by path, with specifiers as `deno publish` rewrites them.
 * They must work without the package's import map and without a user's.
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
    assert.ok(target, `${path} imports ${specifier}, which has no mapping`);
    return `${before}"${target}"`;
  });
}

function mapped(specifier: string): string | undefined {
  const [name, target] = Object.entries(configuration.imports)
    .find(([name]) => specifier === name || specifier.startsWith(`${name}/`)) ??
    [];
  return name && target + specifier.slice(name.length);
}

/** Makes the package for npm: a tarball of JavaScript and types. */
export async function packForNpm(file: string): Promise<void> {
  await runCommand("deno", [
    "pack",
    "--quiet",
    "--allow-dirty",
    `--output=${file}`,
  ], { cwd: root });
}
