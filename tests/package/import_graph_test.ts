/**
 * The modules that importing the package loads before any call, as Deno reports
 * them. A new package among them, or the PostgreSQL store, would make every
 * program start slower.
 */
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import process from "node:process";
import { it } from "node:test";
import { root } from "../support/root.ts";

interface Dependency {
  specifier: string;
  isDynamic?: boolean;
  /** Missing if only types are imported. */
  code?: { specifier: string };
}

/** All modules that a module imports, directly or indirectly. */
function loadedBy(entry: string): string[] {
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["info", "--json", entry],
    { cwd: root, encoding: "utf8", maxBuffer: 64 * 1024 * 1024 },
  );
  assert.ok(stdout, stderr);
  const { roots, modules } = JSON.parse(stdout) as {
    roots: string[];
    modules: { specifier: string; dependencies?: Dependency[] }[];
  };
  const byName = new Map(modules.map((its) => [its.specifier, its]));
  const found = new Set(roots);
  for (const specifier of found) {
    for (
      const { code, isDynamic } of byName.get(specifier)?.dependencies ?? []
    ) {
      if (code !== undefined && !isDynamic) found.add(code.specifier);
    }
  }
  return [...found];
}

/** Only Deno can report what it would load. */
const itInDeno = "Deno" in globalThis ? it : () => {};

function packagesAmong(modules: string[]): string[] {
  return modules.filter((specifier) => specifier.startsWith("npm:"));
}

itInDeno(
  "Importing the package loads no other package, and not the PostgreSQL store",
  () => {
    const loaded = loadedBy("mod.ts");
    assert.deepEqual(packagesAmong(loaded), []);
    assert.deepEqual(
      loaded.filter((specifier) => /src\/(postgres|database)/.test(specifier)),
      [],
    );
    assert.ok(loaded.length > 10, `Found only ${loaded.length} modules`);
  },
);

itInDeno("Opening a store loads no other package", () => {
  for (
    const entry of [
      "src/postgres/open.ts",
      "src/postgres/assemble_store.ts",
      "src/workers/create_workers.ts",
    ]
  ) {
    const loaded = loadedBy(entry);
    assert.deepEqual(packagesAmong(loaded), [], entry);
    assert.ok(loaded.length > 50, `Found only ${loaded.length} modules`);
  }
});

itInDeno("Opening a reader loads no module that writes", () => {
  const loaded = loadedBy("src/postgres/open_reader.ts");
  assert.deepEqual(
    loaded.filter((specifier) =>
      /src\/(workers|postgres\/write_path|database\/ownership)/.test(specifier)
    ),
    [],
  );
  assert.ok(loaded.length > 50, `Found only ${loaded.length} modules`);
});
