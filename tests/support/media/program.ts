/**
 * A program that moves a media stream to object storage and back, in a process
 * that tests can kill. Arguments: url, schema, stream id, the bucket's options
 * as JSON, `offload` or `rehydrate`.
 */
import { openStreamStorage } from "../../../src/open_stream_storage.ts";
import { parseStreamId } from "../../../src/storage/stream_id.ts";
import { takeArguments } from "../programs/program_arguments.ts";

const [url, schema, id, bucket, what] = await takeArguments();

await using storage = await openStreamStorage({
  url: url!,
  schema: schema!,
  mediaStorage: JSON.parse(bucket!),
  workerConcurrency: 0,
  startupDelayMs: 0,
});
const streamId = parseStreamId(id!);
const { maintenance } = storage;
if (what === "offload") await maintenance.offloadMedia({ streamId });
else await maintenance.rehydrateMedia(streamId);
