// Documents: the list, or one of them. Uploads go on while other views are looked at; deletes don't wait longer than this one.

import { listAddress } from "./addresses.js";
import { Deletions } from "./deleting.js";
import { mountDocument } from "./document.js";
import { mountOverview } from "./overview.js";
import { Uploads } from "./uploads.js";

export const title = "Documents";

const deletions = new Deletions();
let uploads = null;

/** Show the view. */
export function mount(main, route, caller) {
  uploads ??= guarded(new Uploads(caller.limits));
  let back = listAddress({});
  let page = null;
  let shown;

  function open(next) {
    if (page && shown === next.id) {
      page.update(next);
    } else {
      back = page?.address?.() ?? back;
      page?.unmount();
      main.replaceChildren();
      scrollTo(0, 0);
      document.title = `${title} · RAG console`;
      shown = next.id;
      page = (next.id === null ? mountOverview : mountDocument)(main, next, { caller, uploads, deletions, back });
    }
  }

  const leave = () => deletions.flushForGood();
  addEventListener("pagehide", leave);
  open(route);
  return {
    update: open,
    unmount() {
      removeEventListener("pagehide", leave);
      deletions.flush();
      page.unmount();
    },
  };
}

/** Have the browser ask before the page is left with files still to be sent. */
function guarded(found) {
  addEventListener("beforeunload", (event) => found.busy && event.preventDefault());
  return found;
}
