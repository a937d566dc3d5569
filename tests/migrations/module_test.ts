import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { it } from "node:test";
import {
  migrationsModule,
  migrationsModuleText,
} from "../../scripts/make_migrations_module.ts";
import { templates } from "../../src/database/migrations/templates.ts";

it("The module of the migrations is that of their files", () => {
  assert.equal(
    readFileSync(migrationsModule, "utf8"),
    migrationsModuleText(),
    "run deno task make:migrations",
  );
});

it("The module says letter by letter what the files say", () => {
  for (const [path, sql] of Object.entries(templates)) {
    const file = new URL(`../../migrations/${path}`, import.meta.url);
    assert.equal(sql, readFileSync(file, "utf8"));
  }
});
