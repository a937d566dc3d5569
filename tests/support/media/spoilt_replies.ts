/** Replies of object stores that are too long, or damaged. */
import type { Random } from "../random.ts";
import type { RawReply } from "./raw_http.ts";
import { errorDocument } from "./real_replies.ts";

/** A little less than a reply may have. */
const long = 4 * 1024 * 1024 - 100;

/** Repeats a text up to this length. */
export function fill(part: string, length = long): string {
  return part.repeat(Math.floor(length / part.length));
}

/** Texts that may confuse a parser. */
const snippets = [
  "<Contents>",
  "</Contents>",
  "<Key>",
  "</Key>",
  "<![CDATA[",
  "]]>",
  "<!--",
  "-->",
  "<!DOCTYPE a>",
  "&#x0;",
  "&#55296;",
  "&amp;",
  "&lol;",
  "\0",
  "\u{10ffff}",
  "9".repeat(400),
  "-1",
  "<IsTruncated>true</IsTruncated>",
  "<NextContinuationToken>t</NextContinuationToken>",
  errorDocument("NoSuchKey"),
];

/** Damages the reply in one to three places. */
export function spoilt(reply: RawReply, random: Random): RawReply {
  const below = (n: number) => random.between(0, n - 1);
  let { status, body, headers, cut, contentLength } = reply;
  for (let changes = 1 + below(3); changes > 0; changes--) {
    const kind = below(8);
    if (kind === 0) status = [200, 204, 206, 302, 404, 412, 500][below(7)]!;
    else if (kind === 1) {
      const by = (["end", "reset"] as const)[below(2)]!;
      cut = { after: below(100), by };
    } else if (kind === 2 && headers !== undefined) {
      const names = Object.keys(headers);
      const name = names[below(names.length)]!;
      const value = ["", "x", "9".repeat(400), '"', "bytes 0-0/1"][below(5)]!;
      headers = { ...headers, [name]: value };
    } else if (kind === 3) contentLength = below(5000);
    else if (typeof body === "string") {
      const [a, b] = [below(body.length), below(body.length)].sort(
        (x, y) => x - y,
      ) as [number, number];
      const snippet = snippets[below(snippets.length)]!;
      body = [
        body.slice(0, a) + body.slice(b),
        body.slice(0, b) + body.slice(a),
        body.slice(0, a) + snippet + body.slice(a),
        body.slice(0, a) + snippet + body.slice(b),
      ][below(4)]!;
    } else if (body !== undefined) body = body.subarray(below(body.length));
  }
  return {
    status,
    ...(body === undefined ? {} : { body }),
    ...(headers === undefined ? {} : { headers }),
    ...(cut === undefined ? {} : { cut }),
    ...(contentLength === undefined ? {} : { contentLength }),
  };
}
