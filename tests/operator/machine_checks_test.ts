/** What the doctor says of the runtime and its permissions, without a server. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  checkPermissions,
  checkRuntime,
} from "../../src/operator/doctor/machine_checks.ts";

describe("The doctor", () => {
  it("knows which runtimes are tested", () => {
    assert.equal(checkRuntime({ deno: "2.9.6", node: "24.0.0" }).level, "ok");
    assert.equal(checkRuntime({ deno: "2.7.0" }).level, "warn");
    assert.equal(
      checkRuntime({ bun: "1.3.9", node: "24.5.0" }).level,
      "warn",
    );
    assert.equal(checkRuntime({ node: "24.4.1" }).level, "warn");
    assert.equal(checkRuntime({ node: "26.0.0" }).level, "ok");
    assert.equal(checkRuntime({}).level, "unknown");
  });

  it("finds the permissions that Deno has not given", async () => {
    const target = {
      hosts: [{ host: "::1", port: 1 }, { host: "/socket", port: 1 }],
      ssl: { mode: "require", ca: "/ca.pem", cert: "-----BEGIN" },
    } as const;
    const found = await checkPermissions(
      target,
      () => Promise.resolve({ state: "prompt" }),
    );
    assert.deepEqual(found.map(({ level }) => level), [
      "fail",
      "fail",
      "warn",
    ]);
    assert.match(found[0]!.advice!, /--allow-net=\[::1\]:1$/);
  });
});
