/**
 * A plugin of `deno lint`: no function of more than 50 lines, and no file of
 * more than 400 whose head does not say why (`400 lines, because …`).
 *
 * A function that defines tests may be longer, because nobody reads it at once:
 * a function of the contract with a `Suite`, and one that calls `it`. So may
 * callbacks and test files.
 */

const maxFunctionLines = 50;
const maxFileLines = 400;

/** What the head of a longer file has to say. */
const reason = /\b400 lines,\s+(?:\*\s+)?because\b/;

type Declared =
  | Deno.lint.FunctionDeclaration
  | Deno.lint.MethodDefinition
  | Deno.lint.ArrowFunctionExpression;

const plugin: Deno.lint.Plugin = {
  name: "sizes",
  rules: {
    function: {
      create(context) {
        if (isFree(context.filename)) return {};
        const check = (node: Declared) => {
          const text = context.sourceCode.getText(node);
          const lines = text.split("\n").length;
          if (lines <= maxFunctionLines || definesTests(text)) return;
          context.report({
            node,
            message:
              `Expected at most ${maxFunctionLines} lines, found ${lines}`,
          });
        };
        return {
          FunctionDeclaration: check,
          MethodDefinition: check,
          "VariableDeclarator > ArrowFunctionExpression": check,
        };
      },
    },
    file: {
      create(context) {
        if (isFree(context.filename)) return {};
        return {
          Program(node) {
            const { text } = context.sourceCode;
            const lines = text.split("\n").length - 1;
            const head = /^\/\*\*.*?\*\//s.exec(text)?.[0] ?? "";
            if (lines <= maxFileLines || reason.test(head)) return;
            context.report({
              node,
              message: `Expected at most ${maxFileLines} lines, or a head ` +
                `that says "400 lines, because", found ${lines}`,
            });
          },
        };
      },
    },
  },
};

function isFree(file: string): boolean {
  return file.endsWith("_test.ts") || file.endsWith(".d.ts");
}

function definesTests(text: string): boolean {
  return /^[^{]*\bsuite: Suite\b|^ +it\(/m.test(text);
}

export default plugin;
