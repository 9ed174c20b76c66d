//! What the world must have as the kernel's side has it, where a random run would seldom show it.

use super::processes::Stuck;
use super::*;
use crate::machine::Facts;
use crate::plan::HookPhase;
use crate::simulation::plan::Written;

const HOOK: HookId = HookId {
    phase: HookPhase::PreStart,
    index: 0,
};

/// A hook hangs, and nothing else happens by itself.
fn world() -> World {
    let options = Options {
        written: vec![
            Written::new("pre-start", "a"),
            Written::new("restart", "always"),
        ],
        ..Options::default()
    };
    let plan = options.plan().unwrap();
    let nothing = || Choices::given(&[]);
    let hangs = Choices::given(&[0, 7, 0, 7]);
    let choices = [nothing(), nothing(), hangs, nothing()];
    World::new(Rc::new(options), plan, choices)
}

fn run_hook() -> Action {
    let facts = Facts {
        phase: "pre-start",
        reason: None,
        signal: None,
        sender: None,
        child: None,
        status: None,
        escalated: false,
        remaining: None,
        result: None,
        generation: None,
    };
    Action::RunHook { hook: HOOK, facts }
}

fn hang_in_the_kernel(world: &mut World) -> i32 {
    let hook = world.processes.last_mut().unwrap();
    hook.stuck = Stuck::ForEver;
    hook.pid
}

fn told(world: &mut World) -> Vec<Event> {
    world.reaping = true;
    std::iter::from_fn(|| drive::World::pending(world)).collect()
}

#[test]
fn a_hook_of_the_last_life_that_ends_late_is_not_that_of_the_next_one() {
    let mut world = world();
    world.carry_out(run_hook());
    let late = hang_in_the_kernel(&mut world);
    world.carry_out(Action::EndHook(HOOK));
    world.carry_out(Action::NextGeneration { number: 2 });
    world.carry_out(run_hook());
    world.unstick(late);
    let told = told(&mut world);
    let status = processes::KILLED;
    assert_eq!(told, [Event::Reaped { pid: late, status }]);
}

#[test]
fn a_hook_of_the_one_beside_that_ends_late_is_not_that_of_the_one_that_serves() {
    let mut world = world();
    world.beside = Some(Box::new(Life {
        number: 2,
        ..Life::default()
    }));
    world.carry_out(Action::Beside(Box::new(run_hook())));
    let late = hang_in_the_kernel(&mut world);
    world.carry_out(Action::Beside(Box::new(Action::EndHook(HOOK))));
    world.carry_out(Action::CloseBeside);
    world.carry_out(run_hook());
    world.unstick(late);
    let told = told(&mut world);
    let status = processes::KILLED;
    assert_eq!(told, [Event::Reaped { pid: late, status }]);
}
