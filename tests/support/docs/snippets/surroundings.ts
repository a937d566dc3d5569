/** The names that a snippet may use without a declaration. */
import { format } from "node:util";
import type {
  MiniblockDescriptor,
  PostgresStreamStorage,
  StreamId,
} from "../../../../mod.ts";

/** A handler of requests, for `Deno.serve` and `Bun.serve`. */
type Handler = (request: Request) => Response | Promise<Response>;

/** The names. The runtimes and the console are replacements. */
export interface Surroundings {
  /** The URL of a server. */
  url: string;
  /** The name of a schema without an owner. */
  schema: string;
  /** An open store. */
  storage: PostgresStreamStorage;
  /** A channel with block 0 and an empty minipool. */
  streamId: StreamId;
  /** A media stream with block 0. */
  mediaId: StreamId;
  /** The genesis of both streams. */
  genesis: MiniblockDescriptor;
  accessKeyId: string;
  secretAccessKey: string;
  Deno: {
    env: { get(name: string): string | undefined };
    readTextFile(path: string): Promise<string>;
    serve(
      options: { port: number; signal?: AbortSignal },
      handler: Handler,
    ): unknown;
  };
  Bun: { serve(options: { port: number; fetch: Handler }): unknown };
  console: { log(...values: unknown[]): void };
}

/** Records what a snippet prints and serves. */
export class Observed {
  readonly lines: string[] = [];
  readonly #answers: Promise<Response>[] = [];

  readonly console: Surroundings["console"] = {
    log: (...values) => this.lines.push(format(...values)),
  };

  /** Opens no port. Calls the handler once, like a scrape or a probe. */
  serve(handler: Handler): unknown {
    const ask = async () => {
      const scrape = await handler(new Request("http://localhost/metrics"));
      return scrape.status === 404
        ? await handler(new Request("http://localhost/livez"))
        : scrape;
    };
    this.#answers.push(ask());
    return {};
  }

  /** Throws unless every handler of the snippet has succeeded. */
  async checkAnswers(): Promise<void> {
    for (const answer of this.#answers) {
      const { status } = await answer;
      if (status !== 200) throw new Error(`Expected 200, found ${status}`);
    }
  }
}
