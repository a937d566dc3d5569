/**
 * The error class, and the errors of the contract: their form and their text.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import * as rules from "../../src/storage/contract_errors.ts";
import {
  isStreamStorageError,
  StreamStorageError,
} from "../../src/storage/errors.ts";
import { badStreamId, invalidArgument } from "../../src/storage/fault.ts";

describe("StreamStorageError", () => {
  it("has safe defaults", () => {
    const error = new StreamStorageError({ code: "INTERNAL", message: "Text" });
    assert.ok(error instanceof Error);
    assert.equal(error.name, "StreamStorageError");
    assert.equal(error.message, "Text");
    assert.equal(error.operation, "");
    assert.deepEqual(error.details, {});
    assert.equal(error.retryable, false);
    assert.equal(error.outcome, "rolled_back");
    assert.equal(error.cause, undefined);
    assert.equal("cause" in error, false);
  });

  it("has the fields that it is made with", () => {
    const cause = new Error("below");
    const init = {
      code: "DB_OPERATION_FAILURE",
      message: "Text",
      operation: "writeEvent",
      details: { sqlstate: "40001" },
      retryable: true,
      outcome: "unknown",
      cause,
    } as const;
    const error = new StreamStorageError(init);
    for (const [key, value] of Object.entries(init)) {
      assert.deepEqual(error[key as keyof typeof init], value);
    }
  });

  it("takes the name of its operation once", () => {
    const error = rules.closed();
    assert.equal(error.withOperation("writeEvent"), error);
    assert.equal(error.operation, "writeEvent");
    error.withOperation("deleteStream");
    assert.equal(error.operation, "writeEvent");
  });

  it("is recognised among other errors, and by its code", () => {
    const error = rules.closed();
    assert.equal(isStreamStorageError(error), true);
    assert.equal(isStreamStorageError(error, "FAILED_PRECONDITION"), true);
    assert.equal(isStreamStorageError(error, "NOT_FOUND"), false);
    for (const other of [new Error("x"), { code: "NOT_FOUND" }, null]) {
      assert.equal(isStreamStorageError(other), false);
    }
  });
});

describe("The errors of the contract", () => {
  it("have a snake_case reason and a text in house style", () => {
    const errors = [
      rules.closed(),
      rules.canceled(new Error("why")),
      rules.streamNotFound("a"),
      rules.streamExists("a"),
      rules.noMiniblocks("INTERNAL", "a"),
      rules.corruptStream("a", 1n),
      rules.storedExternally("a"),
      rules.minipoolGenerationMismatch("INTERNAL", "a", 1n, undefined),
      rules.minipoolSlotMismatch("a", 1, 2),
      rules.candidateTooOld("a", 1n, 2n),
      rules.trimAboveSnapshot("a", 2n, 1n),
      rules.archivePositionMismatch("a", 2n, 0n),
      badStreamId("streamId", "nonsense"),
    ];
    for (const error of errors) {
      assert.match(String(error.details["reason"]), /^[a-z]+(_[a-z]+)*$/);
      assert.match(error.message, /^[A-Z].*[^.]$/);
      assert.equal(error.operation, "");
    }
  });

  it("never show content", () => {
    const secret = "sesame";
    const values = [
      secret,
      new TextEncoder().encode(secret),
      [secret],
      { secret },
      () => secret,
    ];
    for (const received of values) {
      const error = invalidArgument({
        argument: "data",
        reason: "wrong_type",
        rule: "must be a Uint8Array",
        received,
      });
      const text = error.message + JSON.stringify(error.details);
      assert.equal(text.includes(secret), false, text);
    }
    assert.ok(badStreamId("id", "x".repeat(9999)).message.length < 200);
  });
});
