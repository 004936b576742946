/**
 * The demo project: small enough to read in a minute, with checks that really fail. The scripted model's tours
 * (`llm/tours.py`) edit these files by their exact text.
 */

const README = `# Tea shop

A small project to try an agent on. It exists in this tab only.

* \`menu.json\`: what the shop sells
* \`index.html\`: its page
* \`checks.txt\`: what must be true; the command \`check\` tries it
`;

const AGENTS = `Run \`check\` after each change. Prices are in euros.
`;

const MENU = `{
  "teas": [
    { "name": "Assam", "price": 3.2 },
    { "name": "Sencha", "price": 3.8 }
  ]
}
`;

const PAGE = `<!doctype html>
<html lang="en">
  <head>
    <title>Tea shop</title>
  </head>
  <body>
    <h1>Tea shop</h1>
    <p>Open every day from 9 to 18.</p>
  </body>
</html>
`;

// One check a line: "FILE is JSON" or "FILE contains TEXT".
const CHECKS = `menu.json is JSON
menu.json contains "price"
index.html contains <title>
`;

export const DEMO_NAME = "tea-shop";

export const DEMO_FILES = {
  "README.md": README,
  "AGENTS.md": AGENTS,
  "menu.json": MENU,
  "index.html": PAGE,
  "checks.txt": CHECKS,
};
