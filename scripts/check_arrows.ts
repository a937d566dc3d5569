/**
 * Checks the imports of `src`: that folders import only the folders below them,
 * that no file imports itself by way of others, not even for types, that every
 * imported file is TypeScript, and that no file imports the package
 * `pg`, which only tests and benchmarks compare the driver with.
 *
 * Beside `src`, checks that programs import nothing of the tests but
 * `tests/support/`, which they share with the tests, and that `tests/support/`
 * imports neither programs nor tests.
 *
 * Prints `file:line: rule` for each import that breaks a rule, and exits with 1
 * if there is one.
 *
 * ```sh
 * deno run -A scripts/check_arrows.ts [ROOT]
 * ```
 */
import { readdirSync, readFileSync } from "node:fs";
import { join, posix, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

/** Connects the workers with the store that they work on. */
const opener = "open_stream_storage.ts";

/**
 * The folders and files that each folder may import besides itself. Every
 * folder may import those of `forEveryone`.
 */
const allowed: Record<string, string[]> = {
  cli: [opener, "database", "operator", "postgres", "storage"],
  operator: [opener, "database", "media", "postgres", "storage"],
  workers: ["postgres", "storage"],
  postgres: ["database", "media", "storage"],
  database: ["storage"],
  memory: ["storage"],
  media: [],
  testing: ["database", "embedded", "memory", opener, "postgres", "storage"],
  embedded: [],
  telemetry: ["storage/operations.ts", "storage/stream_id.ts"],
  storage: [],
};
const forEveryone = [
  "telemetry",
  "storage/errors.ts",
  "storage/foreign_text.ts",
  "storage/unless_aborted.ts",
];

/** The folders and files that the rules name. */
export const named: readonly string[] = [
  ...Object.entries(allowed).flatMap(([folder, others]) => [folder, ...others]),
  ...forEveryone,
];

/** The folder that imports no other, not even those of `forEveryone`. */
const innermost = "storage";

const driver = "pg";

/** Folders that tests and programs share; they may import only src. */
const shared = ["tests/support/", "tests/fixtures/"];
/** Folders of programs. */
const programs = ["bench/", "scripts/"];

/** An import that breaks a rule. */
export interface BadImport {
  /** Relative to the directory that was checked, with slashes. */
  file: string;
  /** Counted from 1. */
  line: number;
  /** The rule that the import breaks. */
  rule: string;
}

/** Finds all imports below the directory `src` that break a rule. */
export function findBadImports(src: string): BadImport[] {
  const files = filesBelow(src);
  const imports = new Map(
    files.map((
      file,
    ) => [file, importsOf(readFileSync(join(src, file), "utf8"))]),
  );
  const bad = files.flatMap((file) =>
    imports.get(file)!.flatMap(({ specifier, line }) => {
      const rule = brokenRule(file, specifier);
      return rule === undefined ? [] : [{ file, line, rule }];
    })
  );
  return [...bad, ...findCycles(imports)];
}

/**
 * Finds all imports of programs, and of what they share with the tests, that
 * break a rule. `root` is the project's directory.
 */
export function findBadSharing(root: string): BadImport[] {
  return [...programs, ...shared].flatMap((folder) =>
    filesBelow(join(root, folder)).flatMap((name) => {
      const file = folder + name;
      return importsOf(readFileSync(join(root, file), "utf8"))
        .filter(({ specifier }) => !maySee(folder, targetOf(file, specifier)))
        .map(({ line, specifier }) => ({
          file,
          line,
          rule: `${folder} may not import ${targetOf(file, specifier)}`,
        }));
    })
  );
}

function maySee(folder: string, target: string): boolean {
  const isIn = (folders: readonly string[]) =>
    folders.some((one) => target.startsWith(one));
  if (isIn(shared)) return true;
  return !isIn(shared.includes(folder) ? [...programs, "tests/"] : ["tests/"]);
}

/** All TypeScript files, relative to the directory, with slashes. */
function filesBelow(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((file) => file.endsWith(".ts"))
    .map((file) => file.split(sep).join("/"))
    .sort();
}

/** The imports that close a cycle of files, at least one of each cycle. */
function findCycles(imports: ReadonlyMap<string, Import[]>): BadImport[] {
  const found: BadImport[] = [];
  const done = new Set<string>();
  const path: string[] = [];
  const visit = (file: string) => {
    if (done.has(file)) return;
    path.push(file);
    for (const { specifier, line } of imports.get(file) ?? []) {
      const target = targetOf(file, specifier);
      const at = path.indexOf(target);
      if (at < 0) visit(target);
      else {
        const cycle = [...path.slice(at), target].join(" -> ");
        found.push({ file, line, rule: `cycle ${cycle}` });
      }
    }
    path.pop();
    done.add(file);
  };
  for (const file of imports.keys()) visit(file);
  return found;
}

interface Import {
  specifier: string;
  line: number;
}

/** Relative to src, if the specifier is a path. */
function targetOf(file: string, specifier: string): string {
  return specifier.startsWith(".")
    ? posix.join(posix.dirname(file), specifier)
    : specifier;
}

/**
 * Finds the imports without a parser: the code is formatted, so each comment
 * begins its line, and imports have few forms.
 */
function importsOf(text: string): Import[] {
  const code = text.replace(/^[ \t]*(\/\/|\/\*|\*).*$/gm, "");
  const imports = code.matchAll(
    /^(?:import|export)\b[^;"]*?\bfrom\s+"([^"]+)"|^import\s+"([^"]+)"|\bimport\(\s*"([^"]+)"/gm,
  );
  return [...imports].map((match) => ({
    specifier: match[1] ?? match[2] ?? match[3] ?? "",
    line: code.slice(0, match.index + match[0].length).split("\n").length,
  }));
}

function brokenRule(file: string, specifier: string): string | undefined {
  if (specifier === driver || specifier.startsWith(`${driver}/`)) {
    return `src must not import the package ${driver}`;
  }
  if (!specifier.startsWith(".")) return undefined;
  const target = targetOf(file, specifier);
  const [from = "", to = ""] = [file, target].map((path) => path.split("/")[0]);
  if (!target.endsWith(".ts")) return "JSR takes imports of TypeScript only";
  // Files directly in src connect the folders. A folder may import neither them
  // nor anything outside src, unless its rule says so.
  if (from === file || from === to) return undefined;
  const rights = [
    ...allowed[from] ?? [],
    ...from === innermost ? [] : forEveryone,
  ];
  if (rights.includes(to) || rights.includes(target)) return undefined;
  return from in allowed
    ? `${from} may import ${
      rights.join(", ") || "nothing of ours"
    }, not ${target}`
    : `folder ${from} has no rule in check_arrows.ts`;
}

if (import.meta.main) {
  const root = process.argv[2] ?? fileURLToPath(new URL("..", import.meta.url));
  const bad = [
    ...findBadImports(join(root, "src"))
      .map((one) => ({ ...one, file: `src/${one.file}` })),
    ...findBadSharing(root),
  ];
  for (const { file, line, rule } of bad) {
    console.error(
      `${join(relative(process.cwd(), root), file)}:${line}: ${rule}`,
    );
  }
  if (bad.length > 0) process.exitCode = 1;
  else console.log("All imports follow the allowed arrows");
}
