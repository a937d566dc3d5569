/**
 * Finds the words that the table in `docs/glossary.md` retires, in names of files
 * and of code, comments, messages and pages. Prints `file:line: word: what to say instead`
 * for each and exits with 1 if there is one.
 *
 * ```sh
 * deno task words
 * ```
 */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { join, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { namesOnly } from "./check_words/names.ts";
import {
  readRetiredWords,
  type RetiredWords,
} from "./check_words/retired_words.ts";

const glossary = "docs/glossary.md";

/** The files and folders that the check reads. */
const places = [
  "mod.ts",
  "README.md",
  "CONTRIBUTING.md",
  "bench",
  "docs",
  "scripts",
  "src",
  "tests",
];

/**
 * Not checked: the glossary names the words, and the others hold recorded data.
 */
const left = [glossary, "tests/golden/", "tests/fixtures/"];

/** A retired word that was found. */
export interface FoundWord {
  /** From the project's root, with slashes. */
  file: string;
  /** Counted from 1. */
  line: number;
  word: string;
  instead: string;
}

/** Finds the retired words in all files of the project at `root`. */
export function findRetiredWords(root: string): FoundWord[] {
  const table = readRetiredWords(readFileSync(join(root, glossary), "utf8"));
  return places.flatMap((place) => filesOf(root, place))
    .filter((file) => !isBelow(file, left))
    .flatMap((file) => [
      ...wordsIn(file, `// ${file}`, table),
      ...wordsIn(file, readFileSync(join(root, file), "utf8"), table),
    ]);
}

function filesOf(root: string, place: string): string[] {
  if (statSync(join(root, place)).isFile()) return [place];
  return readdirSync(join(root, place), { recursive: true, encoding: "utf8" })
    .map((file) => `${place}/${file.split(sep).join("/")}`)
    .filter((file) => /\.(ts|md|yaml)$/.test(file))
    .sort();
}

function isBelow(file: string, paths: readonly string[]): boolean {
  return paths.some((path) =>
    path.endsWith("/") ? file.startsWith(path) : file === path
  );
}

/** Finds the retired words in the text of one file. */
function wordsIn(
  file: string,
  text: string,
  table: readonly RetiredWords[],
): FoundWord[] {
  const rows = table.filter(({ paths, exceptions }) =>
    (paths.length === 0 || isBelow(file, paths)) && !isBelow(file, exceptions)
  );
  const rowOf = (inNames: boolean) =>
    new Map(
      rows.filter(({ inNamesOnly }) => inNamesOnly === inNames)
        .flatMap((row) => row.words.map((word) => [word, row] as const)),
    );
  const names = file.endsWith(".ts") ? namesOnly(text) : "";
  return [
    ...wordsOf(file, text, rowOf(false)),
    ...wordsOf(file, names, rowOf(true)),
  ];
}

/** Looks at each word, at each whole name, and at the parts of each name. */
function wordsOf(
  file: string,
  text: string,
  rows: ReadonlyMap<string, RetiredWords>,
): FoundWord[] {
  if (rows.size === 0) return [];
  return text.split("\n").flatMap((line, index) => {
    const names = line.match(/[A-Za-z]+/g) ?? [];
    const words = names.flatMap((name) => [name, ...partsOf(name)])
      .map((word) => word.toLowerCase());
    return [...new Set(words)].flatMap((word) => {
      const row = rows.get(word);
      if (row === undefined) return [];
      return [{ file, line: index + 1, word, instead: row.instead }];
    });
  });
}

/** `isToldOf` has the parts `is`, `Told` and `Of`. */
function partsOf(name: string): string[] {
  return name.match(/[A-Z]+(?![a-z])|[A-Z]?[a-z]+/g) ?? [];
}

if (import.meta.main) {
  const found = findRetiredWords(fileURLToPath(new URL("..", import.meta.url)));
  for (const { file, line, word, instead } of found) {
    console.error(`${file}:${line}: ${word}: say ${instead} (${glossary})`);
  }
  if (found.length > 0) process.exitCode = 1;
  else console.log("No retired words");
}
