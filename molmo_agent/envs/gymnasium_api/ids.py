"""The gymnasium ids of this package's envs; imports neither gymnasium nor the envs.

Importing ``molmo_agent`` registers them (gymnasium 1.x does not search for plugins); so does
``gymnasium.make("molmo_agent:MolmoAgent/GridNav-v0")``, which imports it.
"""

# Id -> ("module:what makes it", one line for people).
IDS: dict[str, tuple[str, str]] = {
    "MolmoAgent/PointTarget-v0": (
        "molmo_agent.envs.worlds.point_target:PointTarget",
        "coloured shapes on a noisy canvas: point at the one that is named",
    ),
    "MolmoAgent/GridNav-v0": (
        "molmo_agent.envs.worlds.grid_nav:GridNav",
        "a map with walls: point out the way as ordered waypoints",
    ),
    "MolmoAgent/FloorNav-v0": (
        "molmo_agent.envs.worlds.floor.env:FloorNav",
        "a robot's camera in a room: point at the floor to drive there",
    ),
    "MolmoAgent/TablePick-v0": (
        "molmo_agent.envs.worlds.table.env:TablePick",
        "a table in MuJoCo: point at an object and at where it goes",
    ),
    "MolmoAgent/MiniWoB-v0": (
        "molmo_agent.envs.web.miniwob:make_miniwob",
        "a MiniWoB++ page in a real Chromium, named by task=: a point is a click",
    ),
    "MolmoAgent/MiniGrid-v0": (
        "molmo_agent.envs.gymnasium_api.minigrid:make_minigrid",
        "a MiniGrid map, named by env_id=: a point is a cell to walk to",
    ),
    "MolmoAgent/SimDesktop-v0": (
        "molmo_agent.envs.gymnasium_api.screen_envs:make_sim_desktop",
        "the simulated desktop: a point is a click",
    ),
    "MolmoAgent/SimPhone-v0": (
        "molmo_agent.envs.gymnasium_api.screen_envs:make_sim_phone",
        "the simulated phone: a point is a tap",
    ),
}


def register_envs() -> None:
    """Register the ids with gymnasium; existing registrations stay unchanged."""
    # Here, because this is called at the end of gymnasium's import, which any import of it may be.
    from gymnasium.envs.registration import register, registry

    for name, (entry_point, _) in IDS.items():
        if name not in registry:
            register(id=name, entry_point=entry_point)
