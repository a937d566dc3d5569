/**
 * A closed store leaves nothing behind: a process that only opened and closed
 * one ends by itself. A socket, timer or listener that stayed would keep it
 * alive.
 */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import process from "node:process";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { testDatabaseUrl } from "../support/database.ts";

const script = fileURLToPath(
  new URL("../support/programs/open_and_close.ts", import.meta.url),
);

describe("A process that has closed its store", () => {
  it("ends by itself", async () => {
    const args = "Deno" in globalThis ? ["run", "-A", "--no-check"] : [];
    const child = spawn(process.execPath, [...args, script], {
      env: { ...process.env, STREAM_STORAGE_TEST_URL: await testDatabaseUrl() },
      stdio: ["ignore", "pipe", "inherit"],
      timeout: 30_000,
    });
    let printed = "";
    child.stdout.on("data", (chunk) => printed += chunk);
    const [code] = await once(child, "exit");
    assert.equal(printed.trim(), "closed");
    assert.equal(code, 0);
  });
});
