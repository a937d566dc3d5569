/**
 * The tables of docs/ agree with the code: operations, options with their
 * defaults, error codes, faults and workers. The tests that the pages name exist,
 * README.md is short, and its picture shows the saved benchmark run.
 */
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
import { resolveReaderOptions } from "../../src/postgres/reader_options.ts";
import { isOperationName } from "../../src/storage/operations.ts";
import { postgresReads } from "../../src/telemetry/known_names.ts";
import {
  codeWords,
  documentPaths,
  proseOf,
  readDocument,
  tableOf,
} from "../support/docs/documents.ts";
import { root } from "../support/root.ts";
import { openTestStorage } from "../support/storage.ts";

const reference = "docs/reference.md";

/** The words in the first columns of these tables. */
function namesIn(path: string, ...titles: string[]): string[] {
  return titles.flatMap((title) => tableOf(path, title))
    .flatMap(([name]) => codeWords(name!)).sort();
}

/** The members that one of our interfaces declares itself. */
function membersOf(path: string, name: string): string[] {
  const source = readDocument(path);
  const body = source.split(
    new RegExp(`^export interface ${name}\\b[^{]*\\{$`, "m"),
  )[1]?.split(/^\}$/m)[0];
  assert.ok(body, `${path} has no interface ${name}`);
  const members = body.matchAll(/^ {2}(?:readonly )?(\w+)\??[(:]/gm);
  return Array.from(members, ([, member]) => member!);
}

/** The members of a type that is a union of strings. */
function wordsOf(path: string, name: string): string[] {
  const [, union = ""] = new RegExp(`^export type ${name} =([^]*?);$`, "m")
    .exec(readDocument(path)) ?? [];
  return Array.from(union.matchAll(/^ +\| "(\w+)"/gm), ([, word]) => word!);
}

/** Where an interface is declared, and its name. */
type Declared = [path: string, name: string];

const reader: Declared = ["src/storage/stream_reader.ts", "StreamReader"];
const storage: Declared = ["src/storage/stream_storage.ts", "StreamStorage"];
const openReader: Declared = [
  "src/postgres/postgres_stream_reader.ts",
  "PostgresStreamReader",
];
const openStorage: Declared = [
  "src/postgres/postgres_stream_storage.ts",
  "PostgresStreamStorage",
];

describe("docs/reference.md", () => {
  const members = [reader, storage, openReader, openStorage].flatMap(
    ([path, name]) =>
      membersOf(path, name).map((member) => ({
        member,
        isOperation: isOperationName(member) ||
          postgresReads.some((name) => name === member),
        isReaders: name.endsWith("Reader"),
      })),
  );
  const namesOf = (some: typeof members) =>
    some.map(({ member }) => member).sort();

  it("lists every operation", () => {
    const operations = members.filter((one) => one.isOperation);
    assert.ok(operations.length > 25);
    assert.deepEqual(namesIn(reference, "Operations"), namesOf(operations));
  });

  it("says which operations a reader has", () => {
    const reading = members.filter((one) => one.isOperation && one.isReaders);
    const marked = tableOf(reference, "Operations")
      .filter(([, , who]) => who === "yes")
      .flatMap(([name]) => codeWords(name!));
    assert.deepEqual(marked.sort(), namesOf(reading));
  });

  it("lists every other member of an open store", () => {
    const others = members.filter((one) => !one.isOperation);
    assert.deepEqual(namesIn(reference, "The store itself"), namesOf(others));
  });

  it("lists every error code, and every field of an error", () => {
    const file = "src/storage/errors.ts";
    const codes = wordsOf(file, "StreamStorageErrorCode");
    assert.ok(codes.length > 10);
    assert.deepEqual(namesIn(reference, "Codes"), codes.sort());
    const fields = membersOf(file, "StreamStorageErrorInit")
      .filter((name) => name !== "message");
    assert.deepEqual(namesIn(reference, "Errors"), fields.sort());
  });

  it("names only functions that the package exports", () => {
    const [, list = ""] = /exports pure functions:([^]*?)\n\n/
      .exec(readDocument(reference)) ?? [];
    const exported = readDocument("mod.ts");
    assert.ok(codeWords(list).length > 5);
    for (const name of codeWords(list)) {
      assert.match(exported, new RegExp(`^ +${name},$`, "m"), name);
    }
  });
});

describe("The options in docs/reference.md", () => {
  const tables = [
    "Where the database is",
    "The schema and its owner",
    "Connections and time",
    "Background work and logging",
  ];
  const rows = tables.flatMap((title) => tableOf(reference, title));
  const file = "src/postgres/options.ts";

  it("are complete", () => {
    const options = membersOf(file, "StreamStorageOptions")
      .filter((name) => name !== "retry");
    const retry = membersOf(file, "RetryPolicy").map((name) => `retry.${name}`);
    assert.deepEqual(
      namesIn(reference, ...tables),
      [...options, ...retry].sort(),
    );
  });

  /** The defaults by the option's name. */
  function defaults(): Record<string, unknown> {
    const { target, retry, lockWaitMs, ...others } = resolveOptions({
      user: "user",
      schema: "schema",
    });
    const [{ host, port } = { host: undefined, port: undefined }] =
      target.hosts;
    return {
      ...others,
      ...Object.fromEntries(
        Object.entries(retry).map(([name, value]) => [`retry.${name}`, value]),
      ),
      host,
      port,
      ssl: target.ssl.mode,
      channelBinding: target.channelBinding,
      applicationName: target.applicationName,
      lockTimeoutMs: lockWaitMs,
    };
  }

  it("show the real defaults", () => {
    const actual = defaults();
    for (const [name, documented] of rows) {
      const [option = ""] = codeWords(name!);
      const [value] = codeWords(documented!);
      if (value === undefined) continue;
      const expected = /^[a-z]+Ms$/i.test(value)
        ? actual[value]
        : JSON.parse(value);
      assert.deepEqual(actual[option], expected, option);
    }
  });

  /** Options that `defaults` gives, or that differ each time. */
  const ownWords = ["user", "schema", "instanceId"];

  it("show a default wherever there is one", () => {
    const actual = defaults();
    for (const [name, documented] of rows) {
      const [option = ""] = codeWords(name!);
      const isPlain = ["string", "number", "boolean"]
        .includes(typeof actual[option]);
      if (!isPlain || ownWords.includes(option)) continue;
      assert.equal(
        codeWords(documented!).length,
        1,
        `${option}: ${documented}`,
      );
    }
  });
});

describe("Doc comments", () => {
  // `deno doc` shows only the members that an interface declares itself.
  it("link to the interfaces that an interface extends", () => {
    const inheritance: [Declared, Declared[]][] = [
      [storage, [reader]],
      [openReader, [reader]],
      [openStorage, [reader, storage, openReader]],
    ];
    for (const [[path, name], inherited] of inheritance) {
      const [before = ""] = readDocument(path)
        .split(new RegExp(`^export interface ${name}\\b`, "m"));
      const comment = before.slice(before.lastIndexOf("/**"));
      for (const [, from] of inherited) {
        assert.ok(comment.includes(`{@linkcode ${from}}`), `${name}: ${from}`);
      }
    }
  });
});

describe("A reader's options in docs/reference.md", () => {
  it("are complete, and show the real defaults", () => {
    const { target, ...others } = resolveReaderOptions({
      user: "user",
      schema: "schema",
    });
    const actual: Record<string, unknown> = {
      ...others,
      applicationName: target.applicationName,
      targetSessionAttrs: target.sessionAttrs,
    };
    const rows = tableOf(reference, "Of a reader");
    for (const [name, documented] of rows) {
      const [option = ""] = codeWords(name!);
      const [value = ""] = codeWords(documented!);
      assert.deepEqual(actual[option], JSON.parse(value), option);
    }
    assert.deepEqual(
      namesIn(reference, "Of a reader"),
      membersOf("src/postgres/reader_options.ts", "StreamReaderOptions").sort(),
    );
  });
});

describe("Other tables", () => {
  it("name the workers, and every method of maintenance", async () => {
    await using test = await openTestStorage({
      workerConcurrency: 1,
      mediaStorage: {
        provider: "s3",
        bucket: "none",
        region: "none",
        endpoint: "http://127.0.0.1:1",
        accessKeyId: "key",
        secretAccessKey: "secret",
      },
    });
    const { maintenance } = test.storage;
    const workers = maintenance.workers().map(({ name }) => name).sort();
    const names = namesIn("docs/operating.md", "Workers");
    const methods = membersOf(
      "src/postgres/maintenance.ts",
      "StreamMaintenance",
    );
    assert.deepEqual(names, [...workers, ...methods].sort());
  });

  it("list every fault that a test can ask for", () => {
    const faults = wordsOf("src/testing/faults.ts", "Fault");
    assert.ok(faults.length > 3);
    assert.deepEqual(namesIn("docs/testing.md", "Faults"), faults.sort());
  });

  it("name every task that is not a step of the gate", () => {
    const steps = ["fmt", "lint", "check", "arrows", "doc", "publish-dry"];
    const { tasks } = JSON.parse(readDocument("deno.json"));
    const pages = [...documentPaths(), "bench/README.md"].map(readDocument);
    const named = new Set(
      pages.flatMap((page) =>
        Array.from(page.matchAll(/deno task ([\w:-]+)/g), ([, task]) => task!)
      ),
    );
    assert.deepEqual(
      Object.keys(tasks).filter((task) => !named.has(task)),
      steps,
    );
  });

  it("of the index name every page", () => {
    const index = readDocument("docs/README.md");
    const pages = documentPaths().filter((path) =>
      /^docs\/(?!README)/.test(path)
    );
    assert.ok(pages.length > 10);
    for (const path of pages) {
      assert.ok(index.includes(`](${path.slice("docs/".length)})`), path);
    }
  });

  it("name only tests that exist", () => {
    for (const path of documentPaths()) {
      for (
        const [, test] of proseOf(path).matchAll(
          /`(?:tests\/)?((?:\w+\/)*\w+_test\.ts)`/g,
        )
      ) {
        assert.ok(existsSync(join(root, "tests", test!)), `${path}: ${test}`);
      }
    }
  });
});

describe("README.md", () => {
  it("is one page, whose lines fit a terminal", () => {
    const lines = readDocument("README.md").split("\n");
    assert.ok(lines.length <= 220, `${lines.length} lines`);
    for (const line of lines) assert.ok(line.length <= 100, line);
  });

  it("has a picture of the saved benchmark run", async () => {
    const { overviewChart } = await import("../../bench/report/overview.ts");
    const run = JSON.parse(
      readFileSync(join(root, "bench/results.json"), "utf8"),
    );
    assert.equal(readDocument("docs/figures.svg"), overviewChart(run));
  });
});
