from services.gateway.settings import GatewaySettings
from shared.settings import PROJECT_ROOT, PlatformSettings


def test_the_readme_lists_every_setting_with_its_default() -> None:
    readme = (PROJECT_ROOT / "services" / "gateway" / "README.md").read_text(encoding="utf-8")
    own = [name for name in GatewaySettings.model_fields if name not in PlatformSettings.model_fields or name == "port"]
    for name in own:
        field = GatewaySettings.model_fields[name]
        default = f"{field.default:.12g}" if isinstance(field.default, int | float) else field.default or "none"
        assert f"| `RAG_{name.upper()}` | {default} | {field.description} |" in readme
