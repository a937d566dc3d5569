/** Turns a snippet of the documentation into a module to check and run. */
import { pathToFileURL } from "node:url";
import { join } from "node:path";
import { configuration } from "../../registry/published_files.ts";
import type { CodeBlock } from "../documents.ts";
import { root } from "../../root.ts";

/** Replacements for modules that would reach outside the test. */
const doubles: Record<string, string> = {
  ".": "package.ts",
  "./embedded": "embedded.ts",
  "node:fs/promises": "files.ts",
  "node:process": "process.ts",
};

/** The source of a module that exports `run`. */
export function moduleOf(block: CodeBlock): string {
  const imports: string[] = [];
  const body = block.text.replace(
    /^import [\s\S]*?;$/gm,
    (statement) => {
      imports.push(
        statement.replace(
          /"([^"]+)";$/,
          (_, name) => `${JSON.stringify(addressOf(name))};`,
        ),
      );
      return "";
    },
  ).replace(/^export /gm, "");
  const types = pathToFileURL(
    join(root, "tests/support/docs/snippets/surroundings.ts"),
  );
  // A block, because a snippet may declare a name that `Surroundings` has, too.
  return `// ${block.path}:${block.line}
import type { Surroundings } from ${JSON.stringify(types.href)};
${imports.join("\n")}
// deno-lint-ignore-file
export async function run(
  { ${surroundingNames.join(", ")} }: Surroundings,
): Promise<void> {
  {
${body}
  }
}
`;
}

/** The names that a snippet may use without a declaration; see `Surroundings`. */
const surroundingNames = [
  "url",
  "schema",
  "storage",
  "streamId",
  "mediaId",
  "genesis",
  "accessKeyId",
  "secretAccessKey",
  "Deno",
  "Bun",
  "console",
];

/** The output that the comments after calls of `console.log` announce. */
export function expectedOutput(block: CodeBlock): string[] {
  const calls = block.text.matchAll(/^\s*console\.log\(.*\); \/\/ (.+)$/gm);
  return Array.from(calls, ([, text]) => text!);
}

function addressOf(specifier: string): string {
  const { name, exports } = configuration as {
    name: string;
    exports: Record<string, string>;
  };
  const entry = specifier === name
    ? "."
    : specifier.startsWith(`${name}/`)
    ? specifier.replace(name, ".")
    : undefined;
  const double = doubles[entry ?? specifier];
  if (double !== undefined) {
    return fileOf(`tests/support/docs/snippets/${double}`);
  }
  if (entry === undefined) return specifier;
  const path = exports[entry];
  if (path === undefined) throw new Error(`There is no entry ${specifier}`);
  return fileOf(path);
}

function fileOf(path: string): string {
  return pathToFileURL(join(root, path)).href;
}
