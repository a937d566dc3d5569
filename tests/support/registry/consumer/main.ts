// A host that uses the package: it writes, reads and closes. It has its own copy
// of OpenTelemetry's API, which must receive the store's spans.
import process from "node:process";
import { trace, type Tracer } from "@opentelemetry/api";
import {
  isStreamStorageError,
  MemoryStreamStorage,
  openStreamStorage,
  parseStreamId,
  type StreamStorage,
} from "@towns/stream-storage";
import { prometheusText } from "@towns/stream-storage/telemetry";

const spans: string[] = [];
trace.setGlobalTracerProvider({
  getTracer: () => ({
    startSpan: (name: string) => {
      spans.push(name);
      return trace.wrapSpanContext({
        traceId: "1".repeat(32),
        spanId: "1".repeat(16),
        traceFlags: 1,
      });
    },
  } as unknown as Tracer),
});

const streamId = parseStreamId(("10" + "ab".repeat(20)).padEnd(64, "0"));
const data: Uint8Array = new Uint8Array([1]);

async function writeAndRead(storage: StreamStorage): Promise<string> {
  const genesis = { number: 0n, data, snapshot: data };
  await storage.createStreamStorage(streamId, genesis);
  await storage.writeEvent(streamId, 1n, 0, data);
  const refused: unknown = await storage.createStreamStorage(streamId, genesis)
    .catch((error: unknown) => error);
  const { miniblocks, minipoolEnvelopes } = await storage
    .readStreamFromLastSnapshot(streamId, 0);
  const isRefused = isStreamStorageError(refused, "ALREADY_EXISTS");
  return `${miniblocks.length} ${minipoolEnvelopes.length} ${isRefused}`;
}

const [url = "", schema = ""] = process.argv.slice(2);
const memory = new MemoryStreamStorage();
const inMemory = await writeAndRead(memory);
await memory.close();

const [storage, isChecked] = await Promise.all([
  openStreamStorage({ url, schema, partitions: 1 }),
  openStreamStorage({ url: "nonsense", schema }).then(
    () => false,
    (error: unknown) => isStreamStorageError(error, "BAD_CONFIG"),
  ),
]);
if (!isChecked) throw new Error("Expected bad options to be refused");
const inPostgres = await writeAndRead(storage);
const counts = /duration_seconds_count.*writeEvent/.test(
  prometheusText(storage),
);
await storage.close();
const seen = spans.some((name) => name.startsWith("writeEvent "));
console.log(`${inMemory}, ${inPostgres}, counts ${counts}, spans ${seen}`);
