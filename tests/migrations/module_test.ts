/** The module of the migrations agrees with the SQL files in `migrations/`. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import {
  migrationsModule,
  migrationsModuleText,
} from "../../scripts/make_migrations_module.ts";
import { templates } from "../../src/database/migrations/templates.ts";

describe("The module of the migrations", () => {
  it("is what deno task make:migrations makes of the files", () => {
    assert.equal(
      readFileSync(migrationsModule, "utf8"),
      migrationsModuleText(),
      "Run deno task make:migrations",
    );
  });

  it("contains the files letter by letter", () => {
    for (const [path, sql] of Object.entries(templates)) {
      const file = new URL(`../../migrations/${path}`, import.meta.url);
      assert.equal(sql, readFileSync(file, "utf8"));
    }
  });
});
