/**
 * The XML of replies, and patterns over text from outside: each costs one look at
 * every character, and is refused if it is malformed. Without that, these tests
 * would run for minutes or for ever.
 */
import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseConnectionUrl } from "../../src/database/connection_target.ts";
import { PgError } from "../../src/database/pg_error.ts";
import { rejectionOf } from "../../src/database/rejection.ts";
import { openGcsBucket } from "../../src/media/gcs.ts";
import { ReplyFault } from "../../src/media/reply_fault.ts";
import { openS3Bucket } from "../../src/media/s3.ts";
import { parseXml, xmlElements, xmlText } from "../../src/media/xml.ts";
import { resolveOptions } from "../../src/postgres/resolved_options.ts";
import { isStreamStorageError } from "../../src/storage/errors.ts";
import {
  begun,
  errorDocument,
  finished,
  gcsPage,
  s3Page,
} from "../support/media/real_replies.ts";
import { fill } from "../support/media/spoilt_replies.ts";

function read(xml: string) {
  return parseXml(new TextEncoder().encode(xml));
}

function faultOf(xml: string): unknown {
  try {
    read(xml);
  } catch (error) {
    assert.ok(error instanceof ReplyFault, String(error));
    assert.equal(error.init.reason, "malformed_xml");
    return error.init.details?.["problem"];
  }
  assert.fail(`Must be refused: ${xml.slice(0, 100)}`);
}

describe("XML of a reply", () => {
  it("is parsed as object stores write it", () => {
    const page = read(s3Page(["s/a&amp;b", "s/&#x1F600;&#233;"], "t&lt;1"));
    assert.equal(page.name, "ListBucketResult");
    const keys = xmlElements(page, "Contents").map((it) => xmlText(it, "Key"));
    assert.deepEqual(keys, ["s/a&b", "s/😀é"]);
    assert.equal(xmlText(page, "NextContinuationToken"), "t<1");
    assert.equal(xmlText(read(gcsPage()), "IsTruncated"), "false");
    assert.equal(
      xmlText(read(begun), "UploadId"),
      "VXBsb2FkIElE-5d4140_2abc.4b2a76b",
    );
    assert.equal(read(finished).name, "CompleteMultipartUploadResult");
    assert.equal(xmlText(read(errorDocument("SlowDown")), "Code"), "SlowDown");
    const odd = read(
      "\ufeff\r\n<!-- <a> --><a b='>' c=\">\"\n><b/><b />" +
        "<c>1<![CDATA[<&]]>2<?x > ?>3</c></a>\n<!---->",
    );
    assert.equal(xmlElements(odd, "b").length, 2);
    assert.equal(xmlText(odd, "c"), "1<&23");
    assert.equal(xmlText(odd, "d"), undefined);
  });

  it("has only entities that stand for characters", () => {
    const decode = (text: string) => read(`<a>${text}</a>`).text;
    assert.equal(decode("&amp;lt;&gt;&quot;&apos;&#65;&#x42;"), "&lt;>\"'AB");
    assert.equal(decode("&#1;&#x10ffff;"), "\u0001\u{10ffff}");
    for (
      const entity of [
        "&#99999999999;",
        "&#1114112;",
        "&#x110000;",
        "&#0;",
        "&#xd800;",
        "&#xdfff;&#xdc00;",
        "&#;",
        "&#x;",
        "&;",
        "&",
        "& ",
        "&lol9;",
        "&nbsp;",
        "&amp",
        "&#-5;",
        "&#1e3;",
      ]
    ) assert.equal(faultOf(`<a>${entity}</a>`), "bad_entity", entity);
    assert.equal(faultOf("<a>\0</a>"), "bad_character");
    assert.throws(() => parseXml(Uint8Array.of(60, 97, 0xff, 62)), ReplyFault);
  });

  it("is refused if it is malformed, or has declarations", () => {
    for (
      const text of [
        "",
        "text",
        "<a>",
        "</a>",
        "<a></b>",
        "<a/><b/>",
        "<a/>x",
        "<a><b></a></b>",
        "<a <b>",
        "<a b='>",
        "< a/>",
        "<a/",
        "<",
        "<!--",
        "<a><![CDATA[</a>",
        "<?x",
        "<a></a/>",
        `<${"a".repeat(200)}/>`,
      ]
    ) assert.ok(faultOf(text), text);
    const entity = `<!ENTITY b "${"&a;".repeat(10)}">`;
    for (
      const text of [
        `<!DOCTYPE a [<!ENTITY a "aaaa">${entity}]><a>&b;</a>`,
        `<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>`,
        "<!doctype html><html/>",
        "<a><!ELEMENT b></a>",
      ]
    ) assert.equal(faultOf(text), "declaration");
  });

  it("costs one look at every character, whatever it contains", () => {
    const bounded: Record<string, string> = {
      [fill("<Contents>")]: "too_deep",
      [`<a>${fill("<Contents></Contents>")}</a>`]: "too_many_elements",
      [`<a>${fill("<b/>")}</a>`]: "too_many_elements",
      [fill("<a>", 5_000_000)]: "too_long",
      [`<a>${fill("&")}`]: "bad_entity",
      [`<a>${fill("&amp;")}`]: "unclosed",
      [`<a>${fill("&#x41;")}`]: "unclosed",
      [`<a>&${fill("a")};</a>`]: "bad_entity",
      [`<a>${fill("&#9")};</a>`]: "bad_entity",
      [`<a ${fill("b='c' ")}`]: "bad_tag",
      [`<a ${fill("'")}`]: "bad_tag",
      [`<a ${fill(" ")}`]: "bad_tag",
      [`<${fill("a")}>`]: "bad_tag",
      [`<a>${fill("<!--")}`]: "unclosed",
      [`<a>${fill("<!---->")}`]: "unclosed",
      [`<a>${fill("<![CDATA[")}`]: "unclosed",
      [`<a>${fill("<![CDATA[]]>")}`]: "unclosed",
      [`<a>${fill("<![CDATA[]")}`]: "unclosed",
      [`<a>${fill("<?")}`]: "unclosed",
      [`<a>${fill("<??>")}`]: "unclosed",
      [`<a>${fill("</")}`]: "bad_tag",
      [`<a>${fill("]]>")}`]: "unclosed",
      [`<a>${fill(" ")}`]: "unclosed",
      [fill(" ")]: "not_one_root",
    };
    for (const [text, problem] of Object.entries(bounded)) {
      assert.equal(faultOf(text), problem, text.slice(0, 40));
    }
  });
});

describe("Text from outside", () => {
  it("takes every pattern only one look, however long it is", () => {
    const quietly = (body: () => unknown) => {
      try {
        body();
      } catch (error) {
        assert.ok(isStreamStorageError(error), String(error));
      }
    };
    // Every brace of these messages may begin an object.
    for (const text of [fill("{"), fill("}"), fill('{"a":1}'), '{"a":"b"}']) {
      const fields = { C: "22P02", M: `stream-storage:${text}` };
      const error = new PgError(new Map(Object.entries(fields)), 0);
      assert.equal(rejectionOf(error), undefined);
    }
    const s3 = {
      bucket: "media",
      region: "eu-central-1",
      accessKeyId: "a",
      secretAccessKey: "b",
    };
    const slashes = `http://host/${fill("/")}x`;
    openS3Bucket({ ...s3, endpoint: slashes });
    const gcs = { clientEmail: "a", privateKey: "b", tokenUri: "http://host" };
    openGcsBucket({ bucket: "media", credentials: gcs, endpoint: slashes });
    const begin = "-----BEGIN PRIVATE KEY-----";
    for (
      const text of [
        slashes,
        fill("-----A"),
        fill("-"),
        begin + fill("A"),
        begin + fill(" "),
        `${begin}A-----END PRIVATE KEY-----${fill(" ")}x`,
        fill("0x"),
        fill("a."),
        fill("../"),
      ]
    ) {
      const credentials = { client_email: "a", private_key: text };
      const url = "postgresql://u@h/d";
      for (
        const mediaStorage of [
          { provider: "s3", ...s3, endpoint: text },
          { provider: "s3", ...s3, bucket: text, region: text },
          { provider: "s3", ...s3, accessKeyId: text },
          { provider: "gcs", bucket: "media", credentials },
          { provider: "gcs", bucket: "media", credentials: text },
        ]
      ) {
        quietly(() => resolveOptions({ url, mediaStorage } as never));
      }
      quietly(() => resolveOptions({ url, schema: text } as never));
      for (const part of [text, `u:${text}@h`, `h/${text}`, `h?${text}`]) {
        quietly(() => parseConnectionUrl(`postgresql://${part}`));
      }
    }
  });
});
