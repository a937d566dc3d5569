/**
 * What a read of 1 MB costs at least: the same bytes from the same server through
 * a socket of `node:net`, and nothing is done with them.
 */
import type { Buffer } from "node:buffer";
import type { Socket } from "node:net";
import pg from "pg";
import { clientOptions } from "../client.ts";
import { throughput } from "./clock.ts";
import type { Measure, Place } from "./place.ts";

/** `pg` logs in; from then on its socket is read here. */
export async function bareReads({ url, serverCpu }: Place): Promise<Measure> {
  const client = new pg.Client(clientOptions(url));
  await client.connect();
  await client.query("CREATE TEMPORARY TABLE bare (data bytea)");
  await client.query("ALTER TABLE bare ALTER data SET STORAGE EXTERNAL");
  await client.query(
    `INSERT INTO bare SELECT decode(repeat(md5(n::text), 640), 'hex')
     FROM generate_series(1, 100) AS n`,
  );
  const { stream } = (client as unknown as { connection: { stream: Socket } })
    .connection;
  stream.removeAllListeners("data");
  const query = queryMessage("COPY bare TO STDOUT (FORMAT binary)");
  return (seconds) =>
    throughput(1, seconds, () => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const onData = (chunk: Buffer) => {
        if (!isReady(chunk)) return;
        stream.off("data", onData);
        resolve();
      };
      stream.on("data", onData);
      stream.write(query);
      return promise;
    }, serverCpu);
}

/** A simple query. */
function queryMessage(text: string): Uint8Array {
  const bytes = new TextEncoder().encode(`Q----${text}\0`);
  new DataView(bytes.buffer).setInt32(1, bytes.length - 1);
  return bytes;
}

/** Whether it ends with ReadyForQuery of a session outside of a transaction. */
function isReady(chunk: Buffer): boolean {
  return chunk.subarray(-6).toString("latin1") === "Z\0\0\0\x05I";
}
