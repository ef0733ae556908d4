"""What a reader does: filters, opens a case, uses the keyboard alone, copies, does without a script."""

CASE = "layer/mixtral/float16/zipf"
FIRST, LAST = "router/mixtral/float32/balanced", "layer/qwen2_moe/bfloat16/degenerate"

FILTERS = [
    ({"stage": "down"}, 27),
    ({"stage": "down", "model": "mixtral"}, 9),
    ({"dtype": "bfloat16", "routing": "zipf"}, 18),
    ({"outcome": "diverges"}, 2),
    ({"outcome": "agrees", "stage": "layer"}, 25),
    ({"words": "every output equal"}, 27),
    ({"words": "MIXTRAL   zipf bfloat16"}, 6),
    ({"words": "y[12, 45]"}, 2),
    ({"words": "--case layer/mixtral"}, 9),
    ({"words": "--case layer/mixtral", "outcome": "diverges"}, 1),
    ({"words": "no such thing"}, 0),
    ({"words": "<b>"}, 0),
]


def test_a_filter_leaves_the_cases_that_fit(opened):
    tab = opened("divergent")
    for wanted, amount in FILTERS:
        choose(tab, wanted)
        assert tab.inner_text("output") == f"{amount} of 162 cases", wanted
        assert len(shown(tab)) == amount, wanted
        assert tab.locator(".case > article[id]").count() == 162
        assert tab.locator(".case:not([hidden]) > article[id]").count() == amount, wanted
        tab.click("text=Clear")
        assert len(shown(tab)) == 162, wanted


def test_where_a_filter_leaves_nothing_the_page_says_so(opened):
    tab = opened("divergent")
    choose(tab, {"stage": "router"})
    notes = tab.eval_on_selector_all(".none", "all => all.map(each => each.checkVisibility())")
    assert notes == [True, False]


def test_a_filter_finds_cases_in_the_list_as_in_the_grid(opened):
    tab = opened("divergent")
    choose(tab, {"stage": "router", "routing": "zipf"})
    listed = tab.eval_on_selector_all("#list .case", "all => all.filter(c => c.checkVisibility()).length")
    assert listed == 9
    assert tab.is_visible("h3.stage >> nth=0")
    assert tab.eval_on_selector_all("h3.stage", "all => all.filter(h => h.checkVisibility()).length") == 1


def test_a_cell_opens_its_case_and_the_address_says_which(opened):
    tab = opened("divergent")
    cell(tab, CASE).click()
    assert in_view(tab) == CASE
    assert tab.evaluate("location.hash") == f"#{CASE}"
    text = tab.inner_text("dialog")
    for told in (
        "diverges",
        "cuda",
        "failed",
        "3.5",
        "y[12, 45] got 1.5",
        '"tokens": 3',
        "1 of 3 examples equal",
    ):
        assert told in text
    assert f"pytest conformance --case {CASE} --example '{{}}'" in text


def test_an_address_with_a_case_opens_it_and_one_without_opens_none(opened):
    tab = opened("divergent", hash_="#" + CASE.replace("/", "%2F"))
    assert in_view(tab) == CASE
    for hash_ in ("#no/such/case", "#%E0%A4%A", "#matrix", "#__proto__", '#"><img src=x>'):
        tab.evaluate(f"location.hash = '#{CASE}'")
        tab.wait_for_selector("dialog[open]")
        tab.evaluate("hash => { location.hash = hash }", hash_)
        tab.wait_for_selector("dialog:not([open])", state="attached")
        assert len(shown(tab)) == 162


def test_back_closes_a_case_and_forward_opens_it_again(opened):
    tab = opened("divergent")
    cell(tab, CASE).click()
    tab.go_back()
    tab.wait_for_selector("dialog:not([open])", state="attached")
    tab.go_forward()
    tab.wait_for_selector("dialog[open]")
    assert in_view(tab) == CASE


def test_the_keyboard_alone_is_enough(opened):
    tab = opened("divergent")
    for _ in range(40):
        tab.keyboard.press("Tab")
        if focused(tab) == f"#{FIRST}":
            break
    assert focused(tab) == f"#{FIRST}"
    for keys, expected in (
        (["ArrowRight"], "router/mixtral/float32/zipf"),
        (["ArrowDown", "ArrowDown", "ArrowDown"], "permute/mixtral/float32/zipf"),
        (["End"], "permute/mixtral/bfloat16/degenerate"),
        (["ArrowRight"], "permute/mixtral/bfloat16/degenerate"),
        (["Home", "ArrowLeft"], "permute/mixtral/float32/balanced"),
        (["ArrowUp"], "router/qwen2_moe/float32/balanced"),
        (["Control+End"], LAST),
        (["Control+Home"], FIRST),
    ):
        for key in keys:
            tab.keyboard.press(key)
        assert focused(tab) == f"#{expected}"
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert in_view(tab) == "router/deepseek_v3/float32/balanced"
    assert tab.evaluate("document.activeElement.id") == "view-title"
    tab.keyboard.press("ArrowRight")
    assert in_view(tab) != "router/deepseek_v3/float32/balanced"
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Escape")
    assert in_view(tab) is None
    assert focused(tab) == "#router/deepseek_v3/float32/balanced"
    assert tab.evaluate("location.hash") == ""
    tab.keyboard.press("Tab")
    assert not focused(tab).startswith("#router")


def test_arrow_keys_pass_over_what_a_filter_took_away(opened):
    tab = opened("divergent")
    choose(tab, {"routing": "zipf", "model": "qwen2_moe"})
    tab.focus("#grid a[tabindex='0']")
    assert focused(tab) == "#router/qwen2_moe/float32/zipf"
    tab.keyboard.press("ArrowRight")
    assert focused(tab) == "#router/qwen2_moe/float16/zipf"
    tab.keyboard.press("ArrowDown")
    assert focused(tab) == "#permute/qwen2_moe/float16/zipf"
    tab.keyboard.press("Enter")
    tab.keyboard.press("ArrowRight")
    assert in_view(tab) == "permute/qwen2_moe/bfloat16/zipf"


def test_tab_stays_in_a_case_that_is_open(opened):
    tab = opened("divergent", hash_=f"#{CASE}")
    inside = "document.activeElement === document.body || !!document.activeElement.closest('dialog')"
    for _ in range(8):
        tab.keyboard.press("Tab")
        assert tab.evaluate(inside)


def test_a_command_is_copied_as_it_is(opened):
    tab = opened("divergent", hash_=f"#{CASE}", permissions=["clipboard-read", "clipboard-write"])
    tab.click("dialog button.copy")
    tab.wait_for_selector("dialog >> text=Copied")
    assert (
        tab.evaluate("navigator.clipboard.readText()") == f"pytest conformance --case {CASE} --example '{{}}'"
    )


def test_where_nothing_may_be_copied_the_command_is_selected(opened):
    tab = opened("divergent", hash_=f"#{CASE}")
    tab.evaluate("() => { navigator.clipboard.writeText = () => Promise.reject(); }")
    tab.click("dialog button.copy")
    tab.wait_for_selector("dialog >> text=press Ctrl+C")
    assert tab.evaluate("String(getSelection())").strip().startswith(f"pytest conformance --case {CASE}")


def test_without_a_script_everything_can_be_read(opened, screenshot):
    tab = opened("divergent", java_script_enabled=False)
    for control in ("#filter", "#keys", "button.copy", "dialog"):
        assert not tab.is_visible(control), control
    assert tab.is_visible("text=pytest conformance --case layer/mixtral/float16/zipf")
    tab.click("text=158 cases, one by one")
    assert tab.locator("#list > .case > summary").count() == 158
    assert tab.is_visible("#list > .case >> nth=0")
    screenshot(tab, "without-script")


def test_without_a_script_a_cell_leads_to_its_case(opened):
    tab = opened("divergent", java_script_enabled=False)
    cell(tab, CASE).click()
    target = tab.locator(f"[id='{CASE}']")
    target.wait_for(state="visible")
    assert 0 <= target.bounding_box()["y"] < 900


def test_an_attack_in_a_report_does_nothing(opened):
    tab = opened("hostile", hash_="#layer/mixtral/float32/zipf")  # `opened` watches dialogs and requests
    assert "<script>alert(1)</script>" in tab.inner_text("dialog")
    assert tab.locator("img").count() == 0
    choose(tab, {"words": "<script>alert(1)"}, close=True)
    assert len(shown(tab)) == 3


def test_the_policy_holds_against_what_it_was_made_for(browser, pages, tmp_path):
    """The page with a script and a handler put in by force: neither runs."""
    page = pages["parity"].read_text(encoding="utf-8")
    forced = page.replace("<main", '<script>window.pwned = 1</script><img src=x onerror="pwned = 1"><main', 1)
    (tmp_path / "forced.html").write_text(forced, encoding="utf-8")
    tab = browser.new_page()
    refused = []
    tab.on("console", lambda message: refused.append(message.text))
    tab.goto((tmp_path / "forced.html").as_uri())
    assert tab.evaluate("window.pwned") is None
    assert sum("Content Security Policy" in each for each in refused) >= 2
    tab.close()


def choose(tab, wanted: dict[str, str], close: bool = False) -> None:
    if close:
        tab.keyboard.press("Escape")
    for name, value in wanted.items():
        if name == "words":
            tab.fill("[name=words]", value)
        else:
            tab.select_option(f"[name={name}]", value)


def cell(tab, case_id: str):
    return tab.locator(f"#grid a[href='#{case_id}']")


def shown(tab) -> list[str]:
    """The cases that the grid shows."""
    visible = "getComputedStyle(a).visibility === 'visible'"
    return tab.eval_on_selector_all("#grid tbody a", f"all => all.filter(a => {visible}).map(a => a.hash)")


def in_view(tab) -> str | None:
    return tab.evaluate("(view => view.open ? view.dataset.id : null)(document.querySelector('dialog'))")


def focused(tab) -> str:
    return tab.evaluate("document.activeElement.hash || document.activeElement.tagName")
