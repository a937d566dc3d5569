/** What a snippet of the documentation may use without declaring it. */
import { format } from "node:util";
import type {
  MiniblockDescriptor,
  PostgresStreamStorage,
  StreamId,
} from "../../../../mod.ts";

/** A handler of requests, as `Deno.serve` and `Bun.serve` take one. */
type Handler = (request: Request) => Response | Promise<Response>;

/** The names; those of runtimes and of the console are doubles. */
export interface Surroundings {
  /** The address of a server. */
  url: string;
  /** The name of a schema that nobody owns. */
  schema: string;
  /** An open store. */
  storage: PostgresStreamStorage;
  /** A channel that has block 0, and a minipool that is empty. */
  streamId: StreamId;
  /** A media stream, complete. */
  mediaId: StreamId;
  /** A block 0. */
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

/** What a snippet has printed and served. */
export class Observed {
  readonly lines: string[] = [];
  readonly #answers: Promise<Response>[] = [];

  readonly console: Surroundings["console"] = {
    log: (...values) => this.lines.push(format(...values)),
  };

  /** Nothing listens: the handler is asked once, as a scrape or a probe would. */
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

  /** Fails unless what the snippet serves answers. */
  async checkAnswers(): Promise<void> {
    for (const answer of this.#answers) {
      const { status } = await answer;
      if (status !== 200) throw new Error(`A handler answered ${status}`);
    }
  }
}
