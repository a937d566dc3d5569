/** Streams can be moved to a server of another major version and back. */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  copyStreams,
  exportStreams,
  importStreams,
} from "../../src/operator/mod.ts";
import { serverPrograms } from "../support/servers/debian.ts";
import { DebianServer } from "../../scripts/debian_server.ts";
import { queryOnce, testServerSettings } from "../support/database.ts";
import { makeEveryKind } from "../support/every_kind.ts";
import { openTestStorage } from "../support/storage.ts";
import {
  differences,
  emptyStore,
  temporaryDirectory,
} from "../support/transfer/transfer.ts";

const skip = serverPrograms() === undefined;

describe("Another version of the server", { skip }, () => {
  it("gets the same streams, and gives them back", async () => {
    await using server = await DebianServer.start(testServerSettings);
    await using test = await openTestStorage({ partitions: 2 });
    const versions = await Promise.all(
      [test.url, server.url].map((url) =>
        queryOnce(url, "SELECT current_setting('server_version') AS version")
      ),
    );
    const ids = await makeEveryKind(test);
    await test.storage.deleteStream(ids.offloaded).catch(() => {});
    await test.storage.close();
    const streamIds = Object.entries(ids)
      .filter(([name]) => name !== "offloaded" && name !== "nobody")
      .map(([, id]) => id);
    const from = { url: test.url, schema: test.schema };
    await using there = await emptyStore({ url: server.url, partitions: 16 });
    const copied = await copyStreams({ from, to: there.place, streamIds });
    assert.equal(copied.written, streamIds.length, JSON.stringify(versions));
    assert.deepEqual(await differences(test, there, streamIds), {});
    await using directory = await temporaryDirectory();
    const file = directory.file("streams.gz");
    const { url, schema } = there;
    await exportStreams({ url, schema, file });
    await using back = await emptyStore({ partitions: 1 });
    await importStreams({ ...back.place, file });
    assert.deepEqual(await differences(test, back, streamIds), {});
  });
});
