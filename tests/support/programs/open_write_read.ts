import { newStreamId } from "../../../src/testing/contract/support.ts";
import { openStreamStorage } from "../../../mod.ts";
import { takeArguments } from "./program_arguments.ts";

// A program that gets only the permissions in package/permissions_test.ts.
const [url = "", schema = ""] = await takeArguments();
const data = new Uint8Array([1]);
const streamId = newStreamId();
await using storage = await openStreamStorage({ url, schema, partitions: 1 });
await storage.createStreamStorage(streamId, {
  number: 0n,
  data,
  snapshot: data,
});
await storage.writeEvent(streamId, 1n, 0, data);
const { miniblocks, minipoolEnvelopes } = await storage
  .readStreamFromLastSnapshot(streamId, 0);
console.log(`${miniblocks.length} ${minipoolEnvelopes.length}`);
