// The filters of Django's forms for users and groups give their tooltips a label but no role, so screen readers skip it.
addEventListener("load", () => {
  for (const tooltip of document.querySelectorAll(".help-tooltip[aria-label]")) tooltip.setAttribute("role", "img");
});
