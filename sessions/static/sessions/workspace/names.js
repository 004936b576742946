/** What the page can run. The code itself is loaded after the first paint. */

export const TOOL_NAMES = [
  ...["read_file", "list_files", "search_in_code", "write_file", "apply_diff"],
  ...["create_directory", "delete_file", "move_file", "execute_command"],
];

/** Tools that change nothing, so they may run twice, and need no journal. */
export const READING_TOOLS = new Set(["read_file", "list_files", "search_in_code"]);

export const COMMAND_NAMES = ["check", "pwd", "ls", "cat", "head", "tail", "wc", "grep", "find", "echo", "date", "help"];
