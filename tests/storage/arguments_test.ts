/**
 * The checks of arguments in the corners that the contract's suite, which
 * covers the arguments of each operation, can't reach.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  checkGenesis,
  checkGetStreams,
  checkOptions,
  checkRange,
  checkReadStream,
  checkReinitialize,
  checkTrimStream,
  checkWriteArchiveMiniblocks,
  checkWriteCandidate,
  checkWriteEphemeralMiniblock,
  checkWriteEvent,
  checkWriteMiniblocks,
  checkWritePrecedingMiniblocks,
} from "../../src/storage/arguments.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import type { MiniblockDescriptor } from "../../src/storage/model.ts";

const MAX = 2n ** 63n - 1n;
const data = new Uint8Array([1]);
const snapshot = new Uint8Array([2]);

function refused(call: () => void, argument: string): void {
  assert.throws(call, (error) => {
    assert.ok(isStreamStorageError(error, "INVALID_ARGUMENT"), String(error));
    assert.equal(error.details["argument"], argument);
    return true;
  });
}

describe("The checks of arguments", () => {
  it("accept the bounds of every range", () => {
    checkWriteEvent(0n, 0, data);
    checkWriteEvent(MAX, Number.MAX_SAFE_INTEGER, data);
    checkTrimStream(MAX, [0n, MAX]);
    checkWriteArchiveMiniblocks(MAX, [{ number: 0n, data }]);
    checkWriteArchiveMiniblocks(MAX, []);
    checkReinitialize([{ number: MAX - 1n, data, snapshot }], MAX - 1n, false);
    checkGetStreams({ limit: 1 });
    checkOptions({});
    checkOptions({ signal: new AbortController().signal });
  });

  it("find the holes of sparse arrays", () => {
    const blocks = Array<MiniblockDescriptor>(2);
    blocks[1] = { number: 1n, data };
    refused(
      () =>
        checkWriteMiniblocks(
          blocks,
          { generation: 2n, envelopes: [] },
          { generation: 1n },
        ),
      "miniblocks[0]",
    );
    refused(
      () => checkWriteArchiveMiniblocks(0n, blocks),
      "miniblocks[0]",
    );
    refused(() => checkTrimStream(0n, Array(1)), "nullifySnapshotMbs[0]");
    refused(
      () =>
        checkWriteMiniblocks(
          [{ number: 1n, data }],
          { generation: 2n, envelopes: Array(1) },
          { generation: 1n },
        ),
      "newMinipool.envelopes[0]",
    );
  });

  it("name the received value in the error", () => {
    const cases: [() => void, RegExp][] = [
      [() => checkTrimStream(-1n, []), /0 to 2\^63 - 1, received -1$/],
      [() => checkReadStream(-1), /0 to 2\^53 - 1, received -1$/],
      [() => checkReadStream("1" as never), /a number, received a string$/],
      [() => checkRange(2n, 1n), /fromInclusive 2, received 1$/],
    ];
    for (const [call, message] of cases) assert.throws(call, { message });
  });

  it("refuse missing objects", () => {
    const none = undefined as never;
    refused(() => checkGenesis(none), "genesis");
    refused(() => checkGenesis("block" as never), "genesis");
    refused(() => checkWriteCandidate(none), "miniblock");
    refused(() => checkWriteEphemeralMiniblock(null as never), "miniblock");
    refused(
      () =>
        checkGenesis({
          number: 0n,
          data,
          hasLegacySnapshot: 0 as unknown as boolean,
        }),
      "genesis.hasLegacySnapshot",
    );
    for (const list of [none, "blocks", new Uint8Array(1), new Set()]) {
      const blocks = list as never;
      refused(() => checkWritePrecedingMiniblocks(blocks), "miniblocks");
      refused(() => checkWriteArchiveMiniblocks(0n, blocks), "miniblocks");
      refused(() => checkReinitialize(blocks, 0n, true), "miniblocks");
      refused(
        () =>
          checkWriteMiniblocks(
            [{ number: 1n, data }],
            { generation: 2n, envelopes: blocks },
            { generation: 1n },
          ),
        "newMinipool.envelopes",
      );
    }
    const blocks = [{ number: 1n, data }];
    const minipool = { generation: 2n, envelopes: [] };
    refused(() => checkWriteMiniblocks(none, minipool, none), "miniblocks");
    refused(() => checkWriteMiniblocks(blocks, none, none), "newMinipool");
    refused(
      () => checkWriteMiniblocks(blocks, minipool, none),
      "prevMinipool",
    );
    refused(() => checkOptions(null as never), "options");
    refused(() => checkOptions("now" as never), "options");
  });
});
